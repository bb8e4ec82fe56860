// SPDX-License-Identifier: GPL-2.0-only
#include <linux/module.h>
#include <linux/memremap.h>
#include <linux/ioport.h>
#include <linux/mm.h>
#include <linux/ktime.h>
static ulong size_mb = 256; module_param(size_mb, ulong, 0444);
static ulong start; module_param(start, ulong, 0444);
static struct dev_pagemap pgmap; static struct resource *res;
static vm_fault_t to_ram(struct vm_fault *vmf) { return VM_FAULT_SIGBUS; }
static void page_free_(struct page *p) { }
static const struct dev_pagemap_ops ops = { .page_free = page_free_, .migrate_to_ram = to_ram };
static int __init devpriv_init(void)
{
	void *p; u64 t0;
	if (start & 1) { start = 0; res = request_mem_region(0, size_mb << 20, "devpriv"); } else if (start) res = request_mem_region(start, size_mb << 20, "devpriv");
	else res = request_free_mem_region(&iomem_resource, size_mb << 20, "devpriv");
	if (IS_ERR_OR_NULL(res)) return -EBUSY;
	pgmap.type = MEMORY_DEVICE_PRIVATE; pgmap.range.start = res->start; pgmap.range.end = res->end;
	pgmap.nr_range = 1; pgmap.ops = &ops; pgmap.owner = &pgmap;
	t0 = ktime_get_ns();
	p = memremap_pages(&pgmap, numa_node_id());
	pr_info("devpriv: %pR memremap_pages -> %ld in %llu us\n", res, (long)PTR_ERR_OR_ZERO(p), (ktime_get_ns() - t0) / 1000);
	if (IS_ERR(p)) { release_mem_region(res->start, resource_size(res)); return PTR_ERR(p); }
	return 0;
}
static void __exit devpriv_exit(void)
{
	u64 t0 = ktime_get_ns();
	memunmap_pages(&pgmap);
	pr_info("devpriv: memunmap_pages in %llu us\n", (ktime_get_ns() - t0) / 1000);
	release_mem_region(res->start, resource_size(res));
}
module_init(devpriv_init); module_exit(devpriv_exit); MODULE_LICENSE("GPL");
