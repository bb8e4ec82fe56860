// SPDX-License-Identifier: GPL-2.0-only
/*
 * Requests regions of device-private memory of the sizes given, prints where the kernel put each or
 * why it did not, and releases them at once. Nothing is mapped, so any size will do.
 *
 * size_mb=A,B,...  one request each
 * devm=1           by devm_request_free_mem_region(), for a device named "region"
 */
#include <linux/device.h>
#include <linux/ioport.h>
#include <linux/module.h>

static ulong size_mb[16];
static int sizes;
module_param_array(size_mb, ulong, &sizes, 0444);
static bool devm;
module_param(devm, bool, 0444);

static int __init region_init(void)
{
	struct device *dev = root_device_register("region");
	int i;

	if (IS_ERR(dev))
		return PTR_ERR(dev);
	for (i = 0; i < sizes; i++) {
		struct resource *res = devm ?
			devm_request_free_mem_region(dev, &iomem_resource, size_mb[i] << 20) :
			request_free_mem_region(&iomem_resource, size_mb[i] << 20, "region");

		if (IS_ERR(res)) {
			pr_info("region: %lu MiB: error %ld\n", size_mb[i], PTR_ERR(res));
			continue;
		}
		pr_info("region: %lu MiB: 0x%llx-0x%llx\n", size_mb[i], (u64)res->start, (u64)res->end);
		if (devm)
			devm_release_mem_region(dev, res->start, resource_size(res));
		else
			release_mem_region(res->start, resource_size(res));
	}
	root_device_unregister(dev);
	return 0;
}

static void __exit region_exit(void)
{
}

module_init(region_init);
module_exit(region_exit);
MODULE_DESCRIPTION("Requests free physical regions and says where they are");
MODULE_LICENSE("GPL");
