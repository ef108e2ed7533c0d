/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * DOC: CSB mode and sync loops.
 */
#include <pthread.h>
#include <sys/eventfd.h>

#include "ports.h"

/* One end of a pipe, registered with NIOCCTRL, with its CSB: a TX ring, then an RX ring. */
struct served {
	int fd;
	struct netmap_ring *ring[2];
	struct nm_csb_atok *atok;
	struct nm_csb_ktoa *ktoa;
	void *memory;
	uint64_t bytes;
};

static struct nmreq_header header_of(const char *name, uint16_t type)
{
	struct nmreq_header h = { .nr_version = NETMAP_API, .nr_reqtype = type };

	if (name)
		snprintf(h.nr_name, sizeof(h.nr_name), "%s", name);
	return h;
}

static int request(int fd, const char *name, uint16_t type, void *body, void *options)
{
	struct nmreq_header h = header_of(name, type);

	h.nr_body = (uintptr_t)body;
	h.nr_options = (uintptr_t)options;
	return ioctl(fd, NIOCCTRL, &h);
}

static void *lines(unsigned n)
{
	void *memory = NULL;

	EXPECT_EQ(posix_memalign(&memory, 64, n * 64), 0);
	memset(memory, 0xa5, n * 64);
	return memory;
}

static struct nmreq_opt_csb csb_of(const struct served *s)
{
	return (struct nmreq_opt_csb){ .nro_opt = { .nro_reqtype = NETMAP_REQ_OPT_CSB },
				       .csb_atok = (uintptr_t)s->atok,
				       .csb_ktoa = (uintptr_t)s->ktoa };
}

static struct served serve(const char *name)
{
	struct nmreq_register body = { .nr_mode = NR_REG_ALL_NIC, .nr_flags = NR_EXCLUSIVE };
	struct served s = { .fd = open("/dev/netmap", O_RDWR), .atok = lines(2), .ktoa = lines(2) };
	struct nmreq_opt_csb csb = csb_of(&s);
	struct netmap_if *nifp;

	EXPECT(s.fd >= 0);
	EXPECT_EQ(request(s.fd, name, NETMAP_REQ_REGISTER, &body, &csb), 0);
	EXPECT_EQ(csb.nro_opt.nro_status, 0);
	s.bytes = body.nr_memsize;
	s.memory = mmap(NULL, s.bytes, PROT_READ | PROT_WRITE, MAP_SHARED, s.fd, 0);
	EXPECT(s.memory != MAP_FAILED);
	nifp = NETMAP_IF(s.memory, body.nr_offset);
	s.ring[0] = NETMAP_TXRING(nifp, 0);
	s.ring[1] = NETMAP_RXRING(nifp, 0);
	return s;
}

static void end(struct served s)
{
	munmap(s.memory, s.bytes);
	close(s.fd);
	free(s.atok);
	free(s.ktoa);
}

static int stop(int fd)
{
	return request(fd, NULL, NETMAP_REQ_SYNC_KLOOP_STOP, NULL, NULL);
}

/* A thread in which a loop runs. */
struct loop {
	struct served *s;
	struct nmreq_sync_kloop_start body;
	void *options;
	int result;
	int error;
	pthread_t thread;
};

static void *run(void *argument)
{
	struct loop *loop = argument;

	loop->result =
		request(loop->s->fd, NULL, NETMAP_REQ_SYNC_KLOOP_START, &loop->body, loop->options);
	loop->error = errno;
	return NULL;
}

static void start(struct loop *loop)
{
	EXPECT_EQ(pthread_create(&loop->thread, NULL, run, loop), 0);
	/* The loop shows that it runs by what it makes of kern_need_kick, or by serving. */
}

static void finish(struct loop *loop)
{
	EXPECT_EQ(stop(loop->s->fd), 0);
	pthread_join(loop->thread, NULL);
	EXPECT_EQ(loop->result, 0);
}

static uint32_t hwtail(const struct served *s, unsigned ring)
{
	uint32_t tail, cur;

	nm_sync_kloop_appl_read(&s->ktoa[ring], &tail, &cur);
	return tail;
}

static uint32_t hwcur(const struct served *s, unsigned ring)
{
	uint32_t tail, cur;

	nm_sync_kloop_appl_read(&s->ktoa[ring], &tail, &cur);
	return cur;
}

/* Fill slot @i of the TX ring with the frame number @n. */
static void fill(struct served *s, uint32_t i, uint32_t n)
{
	struct netmap_slot *slot = &s->ring[0]->slot[i];
	char *buf = NETMAP_BUF(s->ring[0], slot->buf_idx);

	memset(buf, (int)n, FRAME);
	memset(buf, 0xff, 6);
	memset(buf + 6, 0x02, 6);
	memcpy(buf + 14, &n, sizeof(n));
	slot->len = FRAME;
}

TEST(the_csb_begins_with_what_the_rings_say)
{
	struct served s = serve(name_of("vale0:k%d{%u", 0));

	EXPECT_EQ(s.atok[0].head, 0);
	EXPECT_EQ(s.atok[0].cur, 0);
	EXPECT_EQ(s.atok[0].appl_need_kick, 1);
	EXPECT_EQ(s.atok[0].sync_flags, 1);
	EXPECT_EQ(s.ktoa[0].hwcur, 0);
	EXPECT_EQ(s.ktoa[0].hwtail, s.ring[0]->num_slots - 1);
	EXPECT_EQ(s.ktoa[0].kern_need_kick, 1);
	EXPECT_EQ(s.ktoa[1].hwtail, 0);
	end(s);
}

TEST(csb_mode_has_no_other_syncs)
{
	struct served s = serve(name_of("vale0:k%d{%u", 1));
	struct pollfd one = { .fd = s.fd, .events = POLLIN };

	EXPECT_ERRNO(ioctl(s.fd, NIOCTXSYNC), EBUSY);
	EXPECT_ERRNO(ioctl(s.fd, NIOCRXSYNC), EBUSY);
	EXPECT_EQ(poll(&one, 1, 1000), 1);
	EXPECT_EQ(one.revents, POLLERR);
	end(s);
}

static void exchange(struct loop *loop, struct nm_desc *peer, int kick, int irq)
{
	struct served *s = loop->s;
	uint64_t one = 1, count;

	for (uint32_t n = 0; n < 20; n++) {
		fill(s, n, n);
		nm_sync_kloop_appl_write(&s->atok[0], n + 1, n + 1);
		nm_stld_barrier();
		if (kick >= 0 && s->ktoa[0].kern_need_kick)
			EXPECT_EQ(write(kick, &one, sizeof(one)), 8);
		EXPECT_EQ(ask(peer, POLLIN, 5000), POLLIN);
		expect(peer, n);
		EXPECT_SOON(hwcur(s, 0) == n + 1);

		put(peer, n + 100);
		txsync(peer);
		if (irq >= 0) {
			struct pollfd told = { .fd = irq, .events = POLLIN };

			EXPECT_EQ(poll(&told, 1, 5000), 1);
			EXPECT_EQ(read(irq, &count, sizeof(count)), 8);
		}
		EXPECT_SOON(hwtail(s, 1) == n + 1);
		EXPECT_EQ(NETMAP_BUF(s->ring[1], s->ring[1]->slot[n].buf_idx)[20], (char)(n + 100));
		nm_sync_kloop_appl_write(&s->atok[1], n + 1, n + 1);
	}
}

TEST(a_sleeping_loop_serves_the_rings)
{
	struct served s = serve(name_of("vale0:k%d{%u", 2));
	struct nm_desc *peer = open_port(name_of("vale0:k%d}%u", 2));
	struct loop loop = { .s = &s, .body = { .sleep_us = 100 } };

	start(&loop);
	exchange(&loop, peer, -1, -1);
	finish(&loop);
	nm_close(peer);
	end(s);
}

static struct nmreq_opt_sync_kloop_eventfds *descriptors(const int kick[2], const int irq[2])
{
	struct nmreq_opt_sync_kloop_eventfds *o =
		calloc(1, sizeof(*o) + 2 * sizeof(o->eventfds[0]));

	EXPECT(o);
	o->nro_opt.nro_reqtype = NETMAP_REQ_OPT_SYNC_KLOOP_EVENTFDS;
	o->nro_opt.nro_size = sizeof(*o) + 2 * sizeof(o->eventfds[0]);
	for (unsigned i = 0; i < 2; i++) {
		o->eventfds[i].ioeventfd = kick[i];
		o->eventfds[i].irqfd = irq[i];
	}
	return o;
}

static void notified(uint32_t direct)
{
	const unsigned number = 3 + direct;
	struct served s = serve(name_of("vale0:k%d{%u", number));
	struct nm_desc *peer = open_port(name_of("vale0:k%d}%u", number));
	const int kick[2] = { eventfd(0, 0), eventfd(0, 0) };
	const int irq[2] = { -1, eventfd(0, 0) };
	struct nmreq_opt_sync_kloop_eventfds *option = descriptors(kick, irq);
	struct nmreq_opt_sync_kloop_mode mode = {
		.nro_opt = { .nro_reqtype = NETMAP_REQ_OPT_SYNC_KLOOP_MODE }, .mode = direct
	};
	struct loop loop = { .s = &s, .options = option };

	option->nro_opt.nro_next = (uintptr_t)&mode;
	start(&loop);
	exchange(&loop, peer, kick[0], irq[1]);
	finish(&loop);
	EXPECT_EQ(option->nro_opt.nro_status, 0);
	EXPECT_EQ(option->nro_opt.nro_next, (uintptr_t)&mode);
	EXPECT_EQ(fcntl(kick[0], F_GETFL) & O_NONBLOCK, 0);
	free(option);
	nm_close(peer);
	end(s);
	for (unsigned i = 0; i < 2; i++)
		close(kick[i]);
	close(irq[1]);
}

TEST(a_loop_with_event_descriptors_sleeps_until_it_is_kicked)
{
	notified(0);
}

TEST(the_direct_modes_serve_the_rings)
{
	notified(NM_OPT_SYNC_KLOOP_DIRECT_TX | NM_OPT_SYNC_KLOOP_DIRECT_RX);
}

TEST(a_stop_that_comes_first_sticks)
{
	struct served s = serve(name_of("vale0:k%d{%u", 10));
	struct nmreq_sync_kloop_start body = { .sleep_us = 100 };

	EXPECT_EQ(stop(s.fd), 0);
	EXPECT_EQ(request(s.fd, NULL, NETMAP_REQ_SYNC_KLOOP_START, &body, NULL), 0);
	end(s);
}

TEST(there_is_one_loop_at_a_time)
{
	struct served s = serve(name_of("vale0:k%d{%u", 11));
	struct loop loop = { .s = &s, .body = { .sleep_us = 100 } };
	struct nmreq_opt_csb csb = csb_of(&s);

	start(&loop);
	EXPECT_SOON(s.ktoa[0].kern_need_kick == 0);
	EXPECT_ERRNO(request(s.fd, NULL, NETMAP_REQ_SYNC_KLOOP_START, &loop.body, NULL), EBUSY);
	EXPECT_ERRNO(request(s.fd, NULL, NETMAP_REQ_CSB_ENABLE, NULL, &csb), EBUSY);
	finish(&loop);
	EXPECT_EQ(request(s.fd, NULL, NETMAP_REQ_CSB_ENABLE, NULL, &csb), 0);
	end(s);
}

TEST(loops_are_refused_with_netmaps_errors)
{
	struct nmreq_sync_kloop_start body = { .sleep_us = 1000001 };
	struct nm_desc *plain = open_port(name_of("vale0:k%d{%u", 12));
	struct served s = serve(name_of("vale0:k%d{%u", 13));
	const int kick[2] = { -1, -1 }, bad[2] = { 2000, 2000 };
	struct nmreq_opt_sync_kloop_eventfds *option = descriptors(kick, bad);
	int fd = open("/dev/netmap", O_RDWR);

	EXPECT_ERRNO(stop(fd), ENXIO);
	EXPECT_ERRNO(request(s.fd, NULL, NETMAP_REQ_SYNC_KLOOP_START, &body, NULL), EINVAL);
	body.sleep_us = 0;
	EXPECT_ERRNO(request(fd, NULL, NETMAP_REQ_SYNC_KLOOP_START, &body, NULL), ENXIO);
	EXPECT_ERRNO(request(plain->fd, NULL, NETMAP_REQ_SYNC_KLOOP_START, &body, NULL), EINVAL);
	EXPECT_ERRNO(request(s.fd, NULL, NETMAP_REQ_SYNC_KLOOP_START, NULL, NULL), EINVAL);
	EXPECT_ERRNO(request(s.fd, NULL, NETMAP_REQ_SYNC_KLOOP_START, &body, option), EBADF);
	option->nro_opt.nro_size -= 8;
	EXPECT_ERRNO(request(s.fd, NULL, NETMAP_REQ_SYNC_KLOOP_START, &body, option), EINVAL);
	free(option);
	close(fd);
	nm_close(plain);
	end(s);
}

TEST(a_csb_is_refused_where_there_is_no_memory_for_it)
{
	struct nmreq_register body = { .nr_mode = NR_REG_ALL_NIC, .nr_flags = NR_EXCLUSIVE };
	struct served s = { .atok = lines(2), .ktoa = lines(2) };
	struct nmreq_opt_csb csb = csb_of(&s);
	const char *name = name_of("vale0:k%d{%u", 14);
	int fd = open("/dev/netmap", O_RDWR);

	csb.csb_atok += 8;
	EXPECT_ERRNO(request(fd, name, NETMAP_REQ_REGISTER, &body, &csb), EINVAL);
	csb.csb_atok = 4096;
	EXPECT_ERRNO(request(fd, name, NETMAP_REQ_REGISTER, &body, &csb), EFAULT);
	free(s.atok);
	free(s.ktoa);
	close(fd);
}

TEST(addresses_that_are_not_there_are_told)
{
	int fd = open("/dev/netmap", O_RDWR);
	struct nmreq_header h = header_of("vale0:x", NETMAP_REQ_REGISTER);

	EXPECT_ERRNO(ioctl(fd, NIOCCTRL, (void *)16), EFAULT);
	EXPECT_ERRNO(ioctl(fd, NIOCREGIF, (void *)16), EFAULT);
	h.nr_body = 16;
	EXPECT_ERRNO(ioctl(fd, NIOCCTRL, &h), EFAULT);
	close(fd);
}
