// SPDX-License-Identifier: GPL-2.0-only
/*
 * Sends entries and exits of kernel functions as fixed-size records (tracers/live/rows.py: RAW).
 *
 * Knows no kernel version and no signature: registers go out raw. Compiled by BCC without any
 * kernel header: program.py hides BCC's own helpers, which need them, so what is used of the BPF API
 * stands here (numbers from include/uapi/linux/bpf.h, fixed for ever). Before this text program.py
 * puts RING_BYTES, SLOTS, SLOT, WANTED(), INSIDE() and OURS(). Compiled once for all slots: SLOT is
 * a mark, and program.py puts a slot's number into the instruction that loads it.
 */
typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef u32 __u32; /* BCC's own generated text may name it */
typedef u64 __u64;
typedef u64 uintptr_t;

#define BCC_SEC(name) __attribute__((section(name), used))
#define BPF_ANY 0
#define INLINE static inline __attribute__((always_inline))

static void *(*bpf_map_lookup_elem)(void *, void *) = (void *)1;
static long (*bpf_map_update_elem)(void *, void *, void *, u64) = (void *)2;
static long (*bpf_map_delete_elem)(void *, void *) = (void *)3;
static u64 (*bpf_ktime_get_ns)(void) = (void *)5;
static u32 (*bpf_get_smp_processor_id)(void) = (void *)8;
static u64 (*bpf_get_current_pid_tgid)(void) = (void *)14;
static long (*bpf_get_current_comm)(void *, u32) = (void *)16;
static long (*bpf_probe_read_kernel)(void *, u32, const void *) = (void *)113;
static long (*bpf_probe_read_kernel_str)(void *, u32, const void *) = (void *)115;
static void *(*bpf_ringbuf_reserve)(void *, u64, u64) = (void *)131;
static void (*bpf_ringbuf_submit)(void *, u64) = (void *)132;
static long (*bpf_get_func_arg)(void *, u32, u64 *) = (void *)183; /* 5.17 */
static long (*bpf_get_func_ret)(void *, u64 *) = (void *)184;
u64 bpf_pseudo_fd(u64, u64) asm("llvm.bpf.pseudo");

/* The shape BCC's rewriter looks for. */
#define TABLE(type, key_type, leaf_type, name, entries)                                          \
	struct name##_table_t {                                                                  \
		key_type key;                                                                    \
		leaf_type leaf;                                                                  \
		leaf_type *(*lookup)(key_type *);                                                \
		int (*update)(key_type *, leaf_type *);                                          \
		int (*delete)(key_type *);                                                       \
		u32 max_entries;                                                                 \
		int flags;                                                                       \
	};                                                                                       \
	__attribute__((section("maps/" type))) struct name##_table_t name = {                    \
		.max_entries = (entries)}

struct record {
	u64 ts_ns;
	u16 probe;
	u8 phase;
	u8 known;
	u32 cpu, pid, tid;
	int site; /* told in user space, as is line */
	u32 line;
	u64 comm[2];
	u64 args[4];
};

struct slot {
	u16 probe; /* the engine's index */
	u8 window; /* leave out calls inside the window... */
	u8 start, end; /* ...by these registers */
	u8 file, caller; /* WARN; file of a region's request, too: its name */
	u8 region; /* returns a struct resource, or an error */
};

struct control {
	u64 running;
	struct slot slots[SLOTS];
};

struct tally { /* per CPU; what passed the filters, and what of it the ring had no room for */
	u64 entries[SLOTS], exits[SLOTS], lost[SLOTS];
	u64 warns, other_warns, reported, other_reported;
};

struct name {
	char text[128];
};

TABLE("array", u32, struct control, control, 1);
TABLE("percpu_array", u32, struct tally, tallies, 1);
TABLE("hash", u64, u64, marks, 4096);
TABLE("hash", u64, struct name, files, 256);

struct ring_table_t {
	int key;
	u32 leaf;
	void *(*ringbuf_reserve)(u64);
	void (*ringbuf_submit)(void *, u64);
	u32 max_entries;
};
__attribute__((section("maps/ringbuf"))) struct ring_table_t ring = {.max_entries = RING_BYTES};

#ifdef __x86_64__
struct registers {
	u64 r15_to_r8[10], result, x3, x2, x1, x0; /* ax, cx, dx, si, di */
};
#else
struct registers { /* of struct pt_regs and struct bpf_perf_event_data alike */
	union {
		u64 x0, result;
	};
	u64 x1, x2, x3;
};
#endif

enum { ENTRY = 1, EXIT = 2, KNOWN_ALL = 7, WARN_SLOT = 0, NONE = 255 };

INLINE u64 pick(u8 number, u64 x0, u64 x1, u64 x2, u64 x3)
{
	return number == 0 ? x0 : number == 1 ? x1 : number == 2 ? x2 : x3;
}

/* Who is in a call: the thread, or in an idle task, which all have number 0, the CPU. */
INLINE u64 caller_of(u64 who, u32 slot)
{
	u32 tid = (u32)who;
	return (u64)(tid ? tid : 0x80000000u | bpf_get_smp_processor_id()) << 8 | slot;
}

INLINE struct record *reserve(struct slot *slot, u8 phase, u64 who, u64 *comm)
{
	struct record *record = ring.ringbuf_reserve(sizeof(*record));
	if (!record)
		return 0;
	record->probe = slot->probe;
	record->phase = phase;
	record->known = KNOWN_ALL;
	record->cpu = bpf_get_smp_processor_id();
	record->pid = who >> 32;
	record->tid = who;
	record->site = -1;
	record->line = 0;
	record->comm[0] = comm[0];
	record->comm[1] = comm[1];
	return record;
}

INLINE void keep_name(u64 at)
{
	struct name name = {};
	bpf_probe_read_kernel_str(name.text, sizeof(name.text), (void *)at);
	files.update(&at, &name);
}

INLINE int entered(u32 n, u64 x0, u64 x1, u64 x2, u64 x3)
{
	u32 zero = 0;
	u64 one = 1, comm[2] = {}, who = bpf_get_current_pid_tgid(), caller = caller_of(who, n);
	struct control *all = control.lookup(&zero);
	struct tally *tally = tallies.lookup(&zero);
	if (!all || !tally || !all->running)
		return 0;
	struct slot *slot = &all->slots[n];
	int drop = 0;
	bpf_get_current_comm(comm, sizeof(comm));
	if (n == WARN_SLOT) {
		drop = !OURS(pick(slot->caller, x0, x1, x2, x3));
		if (drop)
			tally->other_warns++;
		else
			tally->warns++;
	} else if (slot->window) {
		u64 start = pick(slot->start, x0, x1, x2, x3);
		u64 end = pick(slot->end, x0, x1, x2, x3);
		drop = INSIDE(start, end);
	}
	if (!WANTED(who, comm))
		return 0;
	/* An exit cannot know what its call was: the sent ones are marked, and only those. */
	if (drop) {
		marks.delete(&caller);
		return 0;
	}
	tally->entries[n]++;
	if ((n == WARN_SLOT || slot->window) && marks.update(&caller, &one)) {
		tally->exits[n]++; /* no room for the mark: its exit will not be sent */
		tally->lost[n]++;
	}
	if (n == WARN_SLOT && slot->file != NONE) {
		u64 file = pick(slot->file, x0, x1, x2, x3);
		if (!files.lookup(&file))
			keep_name(file);
	} else if (slot->region && slot->file != NONE) {
		keep_name(pick(slot->file, x0, x1, x2, x3)); /* another name may have been there */
	}
	struct record *record = reserve(slot, ENTRY, who, comm);
	if (!record) {
		tally->lost[n]++;
		return 0;
	}
	record->args[0] = x0;
	record->args[1] = x1;
	record->args[2] = x2;
	record->args[3] = x3;
	record->ts_ns = bpf_ktime_get_ns(); /* last here and first at exits: our own time is not in it */
	ring.ringbuf_submit(record, 0);
	return 0;
}

INLINE int returned(u32 n, u64 x0)
{
	u32 zero = 0;
	u64 now = bpf_ktime_get_ns();
	u64 comm[2] = {}, who = bpf_get_current_pid_tgid(), caller = caller_of(who, n);
	struct control *all = control.lookup(&zero);
	struct tally *tally = tallies.lookup(&zero);
	if (!all || !tally || !all->running)
		return 0;
	struct slot *slot = &all->slots[n];
	bpf_get_current_comm(comm, sizeof(comm));
	if (!WANTED(who, comm))
		return 0;
	if (n == WARN_SLOT || slot->window) {
		if (!marks.lookup(&caller))
			return 0;
		marks.delete(&caller);
	}
	tally->exits[n]++;
	u64 found[3] = {}; /* of struct resource: start, end, name */
	if (n != WARN_SLOT && slot->region && x0 && x0 < -4095ull) {
		bpf_probe_read_kernel(found, sizeof(found), (void *)x0);
		if (found[2])
			keep_name(found[2]);
	}
	struct record *record = reserve(slot, EXIT, who, comm);
	if (!record) {
		tally->lost[n]++;
		return 0;
	}
	record->args[0] = x0;
	record->args[1] = found[0];
	record->args[2] = found[1];
	record->args[3] = found[2];
	record->ts_ns = now;
	ring.ringbuf_submit(record, 0);
	return 0;
}

/* The tracepoint error_report:error_report_end. Which number WARN has among its detectors is no
 * promise of the kernel's; its id is the address of the WARN, so addresses decide. */
struct report {
	u64 common;
	u32 detector, padding;
	u64 id;
};

int on_report(struct report *ctx)
{
	u32 zero = 0;
	u64 id = ctx->id;
	struct control *all = control.lookup(&zero);
	struct tally *tally = tallies.lookup(&zero);
	if (!all || !tally || !all->running)
		return 0;
	if (OURS(id))
		tally->reported++;
	else
		tally->other_reported++;
	return 0;
}

/* Of a trampoline: the arguments, and at a return what was returned. */
INLINE u64 argument(u64 *ctx, u32 number)
{
	u64 value = 0;
	bpf_get_func_arg(ctx, number, &value); /* leaves it where there is no such argument */
	return value;
}

/* volatile, so that the mark stays the only operand that depends on the slot. The verifier, which
 * sees the number, leaves out what the slot does not need. */
int at_entry(struct registers *ctx)
{
	volatile u64 slot = SLOT;
	u64 x0 = ctx->x0, x1 = ctx->x1, x2 = ctx->x2, x3 = ctx->x3;
	return entered(slot, x0, x1, x2, x3);
}

int at_exit(struct registers *ctx)
{
	volatile u64 slot = SLOT;
	u64 x0 = ctx->result;
	return returned(slot, x0);
}

int at_fentry(u64 *ctx)
{
	volatile u64 slot = SLOT;
	u64 x0 = argument(ctx, 0), x1 = argument(ctx, 1), x2 = argument(ctx, 2), x3 = argument(ctx, 3);
	return entered(slot, x0, x1, x2, x3);
}

int at_fexit(u64 *ctx)
{
	volatile u64 slot = SLOT;
	u64 x0 = 0;
	bpf_get_func_ret(ctx, &x0);
	return returned(slot, x0);
}
