// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * The mailbox: one request at a time, and an answer that is copied once, then checked.
 *
 * The backend may die, be stopped or lie. So every wait ends, an interrupt that never
 * comes costs a tenth of a second, and a number that does not fit is -EPROTO.
 */
#include <linux/ctype.h>
#include <linux/jiffies.h>
#include <linux/random.h>
#include <linux/slab.h>

#include "rp_device.h"

#define RP_ANSWER_TIMEOUT (10 * HZ)
#define RP_LOOK_INTERVAL  (HZ / 10)

int rp_mailbox_init(struct rp_device *d)
{
	mutex_init(&d->mailbox.lock);
	init_waitqueue_head(&d->mailbox.wait);
	d->mailbox.answer = kmalloc(RP_GUEST_DATA_BYTES, GFP_KERNEL);
	return d->mailbox.answer ? 0 : -ENOMEM;
}

void rp_mailbox_exit(struct rp_device *d)
{
	kfree(d->mailbox.answer);
}

static bool answered(const struct rp_device *d)
{
	return rp_load_acquire(&d->record->answered) == READ_ONCE(d->mailbox.sent);
}

irqreturn_t rp_mailbox_interrupt(int irq, void *device)
{
	struct rp_device *d = device;

	if (!READ_ONCE(d->mailbox.waiting) || !answered(d))
		WRITE_ONCE(d->nudged, true);
	wake_up(&d->mailbox.wait);
	rp_device_look(d, 0);
	return IRQ_HANDLED;
}

static int wait_for_answer(struct rp_device *d)
{
	/* Who waits holds others up, so only the first waits long for a backend that is away. */
	const unsigned long end = jiffies + (d->mailbox.failed ? HZ : RP_ANSWER_TIMEOUT);

	while (!answered(d)) {
		if (rp_device_gone(d))
			return -ENODEV;
		if (time_after(jiffies, end))
			return -ETIMEDOUT;
		wait_event_timeout(d->mailbox.wait, answered(d) || rp_device_gone(d),
				   RP_LOOK_INTERVAL);
	}
	return 0;
}

/* A number that neither our last request nor the last answer had: this is a new request. */
static u32 next_number(const struct rp_device *d)
{
	u32 number = rp_load(&d->request->sent) + 1;

	return number == rp_load(&d->record->answered) ? number + 1 : number;
}

static void post(struct rp_device *d, u32 op, u32 open, const void *head, u32 head_bytes,
		 const void *data, u32 bytes)
{
	struct rp_guest_request *request = d->request;

	WRITE_ONCE(d->mailbox.sent, next_number(d));
	rp_store(&request->op, op);
	rp_store(&request->open, open);
	rp_store(&request->bytes, head_bytes + bytes);
	rp_store(&request->generation, d->mailbox.generation);
	if (head_bytes)
		memcpy(request->data, head, head_bytes);
	if (bytes)
		memcpy(request->data + head_bytes, data, bytes);
	rp_store_release(&request->sent, d->mailbox.sent);
	rp_doorbell(d, 0);
}

/* What a refusal says, without what a terminal would obey. */
static void say_why(const struct rp_device *d, const struct rp_nm_answer *head)
{
	char text[sizeof(head->text)];

	memcpy(text, head->text, sizeof(text));
	text[sizeof(text) - 1] = '\0';
	for (char *c = text; *c; c++)
		if (!isascii(*c) || !isprint(*c))
			*c = '?';
	dev_info_ratelimited(&d->pdev->dev, "refused with error %d: %s\n", head->error, text);
}

static int take_answer(struct rp_device *d, struct rp_answer *answer)
{
	const u32 bytes = rp_load(&d->record->answer_bytes);
	struct rp_nm_answer head;

	if (bytes < sizeof(head) || bytes > RP_GUEST_DATA_BYTES)
		return -EPROTO;
	memcpy(d->mailbox.answer, d->record->answer, bytes);
	memcpy(&head, d->mailbox.answer, sizeof(head));
	if (head.magic != RP_NM_MAGIC || head.error < 0 || head.error > MAX_ERRNO ||
	    head.bytes > bytes - sizeof(head) ||
	    head.attachment_bytes > bytes - sizeof(head) - head.bytes)
		return -EPROTO;
	*answer = (struct rp_answer){
		.error = -head.error,
		.payload = d->mailbox.answer + sizeof(head),
		.bytes = head.bytes,
		.attachment = d->mailbox.answer + sizeof(head) + head.bytes,
		.attachment_bytes = head.attachment_bytes,
	};
	if (head.error)
		say_why(d, &head);
	return 0;
}

/* Once until it works again: a backend that is away would fill the log. */
static void complain(struct rp_device *d, u32 op, int error)
{
	if (d->mailbox.failed || error == -ENODEV)
		return;
	d->mailbox.failed = true;
	if (error == -ETIMEDOUT)
		dev_err(&d->pdev->dev,
			"the backend does not answer (request %u): is it running on the host?\n",
			op);
	else
		dev_err(&d->pdev->dev,
			"the backend's answer (request %u) contradicts itself: ignored\n", op);
}

int rp_mailbox_ask(struct rp_device *d, u32 op, u32 open, const void *head, u32 head_bytes,
		   const void *data, u32 bytes, struct rp_answer *answer)
{
	int ret;

	lockdep_assert_held(&d->mailbox.lock);
	if (rp_device_gone(d))
		return -ENODEV;
	if (head_bytes > RP_GUEST_DATA_BYTES || bytes > RP_GUEST_DATA_BYTES - head_bytes)
		return -EMSGSIZE;
	WRITE_ONCE(d->mailbox.waiting, true);
	post(d, op, open, head, head_bytes, data, bytes);
	ret = wait_for_answer(d);
	WRITE_ONCE(d->mailbox.waiting, false);
	if (!ret)
		ret = take_answer(d, answer);
	if (ret) {
		complain(d, op, ret);
		return ret;
	}
	if (d->mailbox.failed) { /* it is back: perhaps a new one, whose first word was lost */
		d->mailbox.failed = false;
		WRITE_ONCE(d->nudged, true);
		rp_device_look(d, 0);
	}
	if (answer->error == -ESTALE && op != RP_GUEST_HELLO) {
		WRITE_ONCE(d->stale, true);
		rp_device_look(d, 0);
	}
	return 0;
}

int rp_mailbox_tell(struct rp_device *d, u32 op, u32 open, const void *data, u32 bytes)
{
	struct rp_answer answer;
	int ret;

	mutex_lock(&d->mailbox.lock);
	ret = rp_mailbox_ask(d, op, open, NULL, 0, data, bytes, &answer);
	mutex_unlock(&d->mailbox.lock);
	return ret ? ret : answer.error;
}

int rp_mailbox_hello(struct rp_device *d)
{
	struct rp_answer answer;
	int ret;

	mutex_lock(&d->mailbox.lock);
	d->mailbox.generation = get_random_u64();
	ret = rp_mailbox_ask(d, RP_GUEST_HELLO, 0, NULL, 0, NULL, 0, &answer);
	mutex_unlock(&d->mailbox.lock);
	return ret ? ret : answer.error;
}
