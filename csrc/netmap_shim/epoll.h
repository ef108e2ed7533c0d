/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RP_EPOLL_H
#define RP_EPOLL_H

/* rp_epoll_forget() - the session at the number @fd is no member of any set any more */
void rp_epoll_forget(int fd);

/* rp_epoll_forked() - in a child: threads that held a set's lock are not there */
void rp_epoll_forked(void);

#endif
