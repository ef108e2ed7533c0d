/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RP_OBJECT_H
#define RP_OBJECT_H
/*
 * DOC: Which descriptors of this process mean something to us, and what.
 *
 * A table from the number to an object: a session (an open /dev/netmap), a set
 * (an epoll descriptor that sessions were added to), or rp_own, for descriptors
 * that are ours and none of the program's business.
 *
 * Every number that stands for an object, and every call that works with one,
 * holds a reference. The table is read without a lock, also in signal handlers,
 * so an object's memory is never given back: it is used again for another
 * object of its kind. Who finds one takes a reference only if there is one
 * still, then looks whether the table still says the same.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum rp_object_kind { RP_OBJECT_SESSION = 1, RP_OBJECT_SET, RP_OBJECT_OWN };

enum { RP_FDS = 65536 }; /* descriptors with higher numbers cannot be ours */

struct rp_object {
	enum rp_object_kind kind;
	uint32_t refs;
	uint32_t taken;			      /* 0: may be used again */
	void (*release)(struct rp_object *o); /* nobody refers to it any more */
	struct rp_object *next;
};

/**
 * rp_object_new() - a new object, or one that can be used again
 * @kind: of which all have the same size
 * @bytes: of it; what follows the struct rp_object is zero, or as it was left
 *
 * Return: an object with one reference, or NULL
 */
struct rp_object *rp_object_new(enum rp_object_kind kind, size_t bytes,
				void (*release)(struct rp_object *o));

void rp_object_put(struct rp_object *o);

/* rp_object_each() - do something to all objects of @kind, also to those that nobody uses now */
void rp_object_each(enum rp_object_kind kind, void (*act)(struct rp_object *o));

/* rp_fd_any() - tell, cheaply, whether any number stands for a session or a set */
bool rp_fd_any(void);

/**
 * rp_fd_get() - the object of @kind that @fd stands for
 *
 * Return: it, with a reference, or NULL
 */
struct rp_object *rp_fd_get(int fd, enum rp_object_kind kind);

/* rp_fd_set() - let @fd stand for @o, which gains a reference; EMFILE if the table has no such number */
int rp_fd_set(int fd, struct rp_object *o);

/* rp_fd_clear() - @fd stands for nothing */
void rp_fd_clear(int fd);

/* rp_fd_copy() - @to stands for what @from does; EMFILE as rp_fd_set() */
int rp_fd_copy(int from, int to);

/* rp_fd_is_own() - tell whether the program must leave @fd alone */
bool rp_fd_is_own(int fd);

/* rp_fd_own() - @fd is ours now: take it out of the program's way. Return: its new number */
int rp_fd_own(int fd);

/* rp_fd_keep() - @fd, which stays where it is, is ours */
void rp_fd_keep(int fd);

/* rp_fd_own_close() - close one of ours */
void rp_fd_own_close(int fd);

/* rp_fd_next_own() - the lowest number in [@first, @last] that is ours, -1: none */
int rp_fd_next_own(unsigned first, unsigned last);

/* rp_fd_next_set() - the lowest number from @first on that stands for a set; RP_FDS: none */
int rp_fd_next_set(int first);

#endif
