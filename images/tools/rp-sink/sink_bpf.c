/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Counts and drops frames in the kernel, by a BPF program of some forty instructions.
 *
 * The program is written here instruction by instruction, so that a guest image
 * needs no BPF compiler and no library. What it does, in C:
 *
 *	if (end - data < sizeof(struct rp_frame) || frame->ethertype != RP_ETHERTYPE)
 *		return PASS;
 *	stream = &streams[frame->stream & (RP_STREAMS - 1)];
 *	if (stream->frames % SINK_MARK == 0) {
 *		now = bpf_ktime_get_ns();
 *		if (stream->frames == 0) {
 *			stream->first_ns = now;
 *			stream->next = seq;
 *		}
 *		stream->mark_ns = now;
 *		stream->mark_frames = stream->frames;
 *	}
 *	stream->frames++;
 *	stream->bytes += length;
 *	if (seq < stream->next) {
 *		stream->late++;
 *	} else {
 *		stream->missing += seq - stream->next;
 *		stream->next = seq + 1;
 *	}
 *	return DROP;
 *
 * For any frame, not only rp-flood's, the tests of ethertype and sequence are
 * left out, and all of them are stream 0.
 */
#include <errno.h>
#include <linux/bpf.h>
#include <linux/if_link.h>
#include <linux/pkt_cls.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sink.h"
#include "tool.h"

#define MAX_INSNS 64
#define LOG_SIZE  65536

/* Registers: 6 to 9 survive a call of the kernel. */
enum { R0, R1, R2, R3, R4, R5, DATA, LENGTH, SEQ, STREAM, STACK };

/* Where a copy of the header goes: so that its 64-bit sequence number is aligned. */
#define HEADER_BELOW_STACK 38

_Static_assert((HEADER_BELOW_STACK - offsetof(struct rp_frame, seq)) % 8 == 0, "aligned");

struct assembler {
	struct bpf_insn insns[MAX_INSNS];
	int length;
};

/*
 * What differs between the two places a program can be in. In the driver the
 * frame's header is memory that the program may read; behind it, it may lie in
 * pieces, and is copied to the program's stack.
 */
struct place {
	const char *name;
	enum bpf_prog_type type;
	int32_t pass;
	int32_t drop;
};

static const struct place XDP = {
	.name = "xdp",
	.type = BPF_PROG_TYPE_XDP,
	.pass = XDP_PASS,
	.drop = XDP_DROP,
};

static const struct place TC = {
	.name = "tc",
	.type = BPF_PROG_TYPE_SCHED_CLS,
	.pass = TC_ACT_OK,
	.drop = TC_ACT_SHOT,
};

static struct {
	int map;
	int link;
	int ifindex;
} attached = { -1, -1, 0 };

static int emit(struct assembler *as, uint8_t code, int dst, int src, int16_t off, int32_t imm)
{
	as->insns[as->length] = (struct bpf_insn){
		.code = code,
		.dst_reg = (uint8_t)dst & 0xf,
		.src_reg = (uint8_t)src & 0xf,
		.off = off,
		.imm = imm,
	};
	return as->length++;
}

static void load(struct assembler *as, uint8_t size, int dst, int src, size_t off)
{
	emit(as, BPF_LDX | BPF_MEM | size, dst, src, (int16_t)off, 0);
}

static void store(struct assembler *as, int dst, size_t off, int src)
{
	emit(as, BPF_STX | BPF_MEM | BPF_DW, dst, src, (int16_t)off, 0);
}

static void move(struct assembler *as, int dst, int src)
{
	emit(as, BPF_ALU64 | BPF_MOV | BPF_X, dst, src, 0, 0);
}

static void move_number(struct assembler *as, int dst, int32_t number)
{
	emit(as, BPF_ALU64 | BPF_MOV | BPF_K, dst, 0, 0, number);
}

static void compute(struct assembler *as, uint8_t operation, int dst, int src)
{
	emit(as, BPF_ALU64 | operation | BPF_X, dst, src, 0, 0);
}

static void compute_number(struct assembler *as, uint8_t operation, int dst, int32_t number)
{
	emit(as, BPF_ALU64 | operation | BPF_K, dst, 0, 0, number);
}

static void to_host_order(struct assembler *as, int dst, int32_t bits)
{
	emit(as, BPF_ALU | BPF_END | BPF_TO_BE, dst, 0, 0, bits);
}

/* Jumps go forward to where land() is called with their return value. */
static int jump_if(struct assembler *as, uint8_t condition, int dst, int src)
{
	return emit(as, BPF_JMP | condition | BPF_X, dst, src, 0, 0);
}

static int jump_if_number(struct assembler *as, uint8_t condition, int dst, int32_t number)
{
	return emit(as, BPF_JMP | condition | BPF_K, dst, 0, 0, number);
}

static int jump(struct assembler *as)
{
	return emit(as, BPF_JMP | BPF_JA, 0, 0, 0, 0);
}

static void land(struct assembler *as, int jump)
{
	as->insns[jump].off = (int16_t)(as->length - jump - 1);
}

static void leave(struct assembler *as, int32_t verdict)
{
	move_number(as, R0, verdict);
	emit(as, BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
}

/* STREAM = the map's memory + offset of the frame's stream */
static void find_stream(struct assembler *as, int map, bool any)
{
	if (any) {
		move_number(as, STREAM, 0);
	} else {
		load(as, BPF_H, STREAM, DATA, offsetof(struct rp_frame, stream));
		to_host_order(as, STREAM, 16);
		compute_number(as, BPF_AND, STREAM, RP_STREAMS - 1);
		compute_number(as, BPF_LSH, STREAM, SINK_STREAM_SHIFT);
	}
	emit(as, BPF_LD | BPF_IMM | BPF_DW, R1, BPF_PSEUDO_MAP_VALUE, 0, map);
	emit(as, 0, 0, 0, 0, 0);
	compute(as, BPF_ADD, STREAM, R1);
}

#define FIELD(name) offsetof(struct sink_stream, name)

static void mark_time(struct assembler *as)
{
	int not_due, not_first;

	load(as, BPF_DW, R2, STREAM, FIELD(frames));
	compute_number(as, BPF_AND, R2, SINK_MARK - 1);
	not_due = jump_if_number(as, BPF_JNE, R2, 0);
	emit(as, BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_ktime_get_ns);
	load(as, BPF_DW, R2, STREAM, FIELD(frames));
	not_first = jump_if_number(as, BPF_JNE, R2, 0);
	store(as, STREAM, FIELD(first_ns), R0);
	store(as, STREAM, FIELD(next), SEQ);
	land(as, not_first);
	store(as, STREAM, FIELD(mark_ns), R0);
	store(as, STREAM, FIELD(mark_frames), R2);
	land(as, not_due);
}

/* stream->FIELD += what register `addend` holds, or the number if that is R0 */
static void add(struct assembler *as, size_t field, int addend, int32_t number)
{
	load(as, BPF_DW, R2, STREAM, field);
	if (addend != R0)
		compute(as, BPF_ADD, R2, addend);
	else
		compute_number(as, BPF_ADD, R2, number);
	store(as, STREAM, field, R2);
}

static void follow_sequence(struct assembler *as)
{
	int late, done;

	load(as, BPF_DW, R3, STREAM, FIELD(next));
	late = jump_if(as, BPF_JLT, SEQ, R3);
	move(as, R4, SEQ);
	compute(as, BPF_SUB, R4, R3);
	add(as, FIELD(missing), R4, 0);
	compute_number(as, BPF_ADD, SEQ, 1);
	store(as, STREAM, FIELD(next), SEQ);
	done = jump(as);
	land(as, late);
	add(as, FIELD(late), R0, 1);
	land(as, done);
}

/* LENGTH = bytes of the frame, DATA = its header; R1 is the context, still. */
static int find_header_xdp(struct assembler *as)
{
	load(as, BPF_W, DATA, R1, offsetof(struct xdp_md, data));
	load(as, BPF_W, R3, R1, offsetof(struct xdp_md, data_end));
	move(as, LENGTH, R3);
	compute(as, BPF_SUB, LENGTH, DATA);
	move(as, R4, DATA);
	compute_number(as, BPF_ADD, R4, sizeof(struct rp_frame));
	return jump_if(as, BPF_JGT, R4, R3);
}

static int find_header_tc(struct assembler *as)
{
	load(as, BPF_W, LENGTH, R1, offsetof(struct __sk_buff, len));
	move(as, DATA, STACK);
	compute_number(as, BPF_ADD, DATA, -HEADER_BELOW_STACK);
	move_number(as, R2, 0);
	move(as, R3, DATA);
	move_number(as, R4, sizeof(struct rp_frame));
	emit(as, BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_skb_load_bytes);
	return jump_if_number(as, BPF_JNE, R0, 0);
}

static struct assembler assemble(const struct place *place, int map, bool any)
{
	struct assembler as = { .length = 0 };
	int too_short = place == &XDP ? find_header_xdp(&as) : find_header_tc(&as);
	int foreign = 0;

	if (!any) {
		load(&as, BPF_H, R5, DATA, offsetof(struct rp_frame, ethertype));
		foreign = jump_if_number(&as, BPF_JNE, R5, htobe16(RP_ETHERTYPE));
		load(&as, BPF_DW, SEQ, DATA, offsetof(struct rp_frame, seq));
		to_host_order(&as, SEQ, 64);
	} else {
		move_number(&as, SEQ, 0);
	}
	find_stream(&as, map, any);
	mark_time(&as);
	add(&as, FIELD(frames), R0, 1);
	add(&as, FIELD(bytes), LENGTH, 0);
	if (!any)
		follow_sequence(&as);
	leave(&as, place->drop);
	land(&as, too_short);
	if (!any)
		land(&as, foreign);
	leave(&as, place->pass);
	return as;
}

static int bpf(enum bpf_cmd command, union bpf_attr *attr)
{
	return (int)syscall(SYS_bpf, command, attr, sizeof(*attr));
}

static int make_map(void)
{
	union bpf_attr attr = {
		.map_type = BPF_MAP_TYPE_ARRAY,
		.key_size = sizeof(uint32_t),
		.value_size = sizeof(((struct sink *)0)->streams),
		.max_entries = 1,
	};

	return bpf(BPF_MAP_CREATE, &attr);
}

static int load_program(const struct place *place, int map, bool any)
{
	static char log[LOG_SIZE];
	struct assembler as = assemble(place, map, any);
	union bpf_attr attr = {
		.prog_type = place->type,
		.insns = (uintptr_t)as.insns,
		.insn_cnt = (uint32_t)as.length,
		/* ktime_get_ns is for programs under any licence, but the field must be there. */
		.license = (uintptr_t) "BSD",
		.log_buf = (uintptr_t)log,
		.log_size = sizeof(log),
		.log_level = 1,
	};
	int program = bpf(BPF_PROG_LOAD, &attr);

	if (program < 0)
		fprintf(stderr, "rp-sink: the kernel refuses the %s program:\n%s", place->name,
			log);
	return program;
}

static int attach_xdp(int ifindex, int program)
{
	union bpf_attr attr = {
		.link_create = {
			.prog_fd = (uint32_t)program,
			.target_ifindex = (uint32_t)ifindex,
			.attach_type = BPF_XDP,
			/* In the driver or not at all: the generic mode copies every frame. */
			.flags = XDP_FLAGS_DRV_MODE,
		},
	};

	attached.link = bpf(BPF_LINK_CREATE, &attr);
	return attached.link < 0 ? -1 : 0;
}

static int try_place(const struct place *place, int ifindex, bool any)
{
	int program = load_program(place, attached.map, any);
	int status;

	if (program < 0)
		return -1;
	status = place == &XDP ? attach_xdp(ifindex, program) : sink_tc_attach(ifindex, program);
	if (status != 0)
		fprintf(stderr, "rp-sink: no %s on this interface: %s\n", place->name,
			strerror(errno));
	close(program);
	return status;
}

const char *sink_bpf_attach(int ifindex, enum sink_mode mode, bool any)
{
	attached.ifindex = ifindex;
	attached.map = make_map();
	if (attached.map < 0)
		tool_fail("this kernel has no BPF");
	if (mode != SINK_TC && try_place(&XDP, ifindex, any) == 0)
		return XDP.name;
	if (mode != SINK_XDP && try_place(&TC, ifindex, any) == 0)
		return TC.name;
	errno = 0;
	tool_fail("cannot count in the kernel, see above");
}

void sink_bpf_read(struct sink *sink)
{
	uint32_t key = 0;
	union bpf_attr attr = {
		.map_fd = (uint32_t)attached.map,
		.key = (uintptr_t)&key,
		.value = (uintptr_t)sink->streams,
	};

	if (bpf(BPF_MAP_LOOKUP_ELEM, &attr) != 0)
		tool_fail("cannot read the counts");
}

void sink_bpf_detach(void)
{
	/* An XDP program leaves with its link. */
	if (attached.link >= 0)
		close(attached.link);
	else
		sink_tc_detach(attached.ifindex);
}
