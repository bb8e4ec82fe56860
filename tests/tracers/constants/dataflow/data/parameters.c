// SPDX-License-Identifier: GPL-2.0-only
/*
 * start and end around a WARN, as arm64's vmemmap_populate and vmemmap_free have them: for the
 * debug information of dwarf-4.elf and dwarf-5.elf, made with GCC 12.2 and N = 4, 5:
 *
 *   aarch64-linux-gnu-gcc -O2 -gdwarf-N -fno-inline -fno-ipa-ra -fno-ipa-pure-const \
 *     -ffreestanding -nostdlib -static \
 *     -Wl,-Ttext=0xffff800080010000,--build-id=none,-N -o dwarf-N.elf parameters.c
 */
typedef unsigned long u64;
#define START 0xfffffdffc0000000UL
#define END 0xffffffffc0000000UL
#define WARN_ON(condition) ({ int c = !!(condition); if (__builtin_expect(c, 0)) asm volatile("brk 0x800"); c; })

void unmap_range(u64 start, u64 end, int free, void *altmap);
void free_tables(u64 start, u64 end, u64 floor, u64 ceiling);
int map_range(u64 start, u64 end, int node, void *altmap);
void unmap_range(u64 start, u64 end, int free, void *altmap) { asm volatile("" :: "r"(start), "r"(end), "r"(free), "r"(altmap)); }
void free_tables(u64 start, u64 end, u64 floor, u64 ceiling) { asm volatile("" :: "r"(start), "r"(end), "r"(floor), "r"(ceiling)); }
__attribute__((noinline)) int map_range(u64 start, u64 end, int node, void *altmap) { asm volatile("" :: "r"(start), "r"(end), "r"(node), "r"(altmap)); return 0; }

int vmemmap_populate(u64 start, u64 end, int node, void *altmap)
{
	WARN_ON(start < START || end > END);
	return map_range(start, end, node, altmap);
}

void vmemmap_free(u64 start, u64 end, void *altmap)
{
	WARN_ON(start < START || end > END);
	unmap_range(start, end, 1, altmap);
	free_tables(start, end, START, END);
}
