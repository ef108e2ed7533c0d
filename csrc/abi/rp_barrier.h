/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */
#ifndef RP_BARRIER_H
#define RP_BARRIER_H
/*
 * DOC: Every ordering that two parties of a shared ring rely on.
 *
 * Publishing: one writer, one reader, an index that says how far the data is
 * valid. It holds for netmap cursors, virtqueue indexes and CSB fields alike.
 *
 *      writer                            reader
 *      store the data                    i = rp_load_acquire(&index)
 *      rp_store_release(&index, i)       load the data up to i
 *
 * Going to sleep: both sides write one word and read the other's. Without the
 * full fence each store may still sit in its store buffer while the load
 * beside it is served, so both would miss each other and a wake-up is lost.
 *
 *      sleeper                           waker
 *      need_kick = 1                     index = i
 *      rp_fence_full()                   rp_fence_full()
 *      is there new work?  -> go on      need_kick?  -> kick
 *
 * Claiming: rp_claim() turns a 0 into a 1 for exactly one of those who try; it
 * acquires, and rp_store_release(p, 0) gives it up.
 *
 * rp_replace() writes a word that still says what it said, and tells whether it did.
 *
 * Words that a peer may change at any time are read once, with rp_load(), into
 * a local variable; the variable is checked and used, the word never again.
 */
#ifdef __KERNEL__
/*
 * The other party runs on another processor, whatever this kernel knows of: virt_*(),
 * and the compiler's atomic operations, which no kernel for one processor weakens.
 */
#include <asm/barrier.h>
#include <linux/compiler.h>
#include <linux/processor.h>
#define rp_load(p)	       READ_ONCE(*(p))
#define rp_store(p, v)	       WRITE_ONCE(*(p), (v))
#define rp_load_acquire(p)     virt_load_acquire(p)
#define rp_store_release(p, v) virt_store_release((p), (v))
#define rp_fence_full()	       virt_mb()
#define rp_cpu_relax()	       cpu_relax()
#else
#define rp_load(p)	       __atomic_load_n((p), __ATOMIC_RELAXED)
#define rp_store(p, v)	       __atomic_store_n((p), (v), __ATOMIC_RELAXED)
#define rp_load_acquire(p)     __atomic_load_n((p), __ATOMIC_ACQUIRE)
#define rp_store_release(p, v) __atomic_store_n((p), (v), __ATOMIC_RELEASE)
#define rp_fence_full()	       __atomic_thread_fence(__ATOMIC_SEQ_CST)
#if defined(__x86_64__) || defined(__i386__)
#define rp_cpu_relax()	     __builtin_ia32_pause()
/* Bring a line near, to be written: compilers use this instruction only if told that it exists. */
#define rp_prefetch_write(p) __asm__ volatile("prefetchw %0" : : "m"(*(const char *)(p)))
#else
#define rp_cpu_relax()	     __asm__ __volatile__("yield" ::: "memory")
#define rp_prefetch_write(p) __builtin_prefetch((p), 1)
#endif
#endif

#define rp_claim(p)	      (__atomic_exchange_n((p), 1, __ATOMIC_ACQ_REL) == 0)
#define rp_replace(p, old, v) __sync_bool_compare_and_swap((p), (old), (v))
#define rp_add_fetch(p, n)    __atomic_add_fetch((p), (n), __ATOMIC_SEQ_CST)
#define rp_set_bits(p, mask)  ((void)__atomic_fetch_or((p), (mask), __ATOMIC_SEQ_CST))

#endif
