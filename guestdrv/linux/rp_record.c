// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* The directory of the region, and the backend's record of this guest: read once, checked, kept. */
#include <linux/ctype.h>
#include <linux/etherdevice.h>

#include "rp_device.h"

static bool pool_inside(const struct rp_pool_info *p, u64 bytes, u32 least)
{
	return p->objsize >= least && p->objsize % 64 == 0 && p->offset % 64 == 0 &&
	       p->offset <= bytes && p->objtotal <= (bytes - p->offset) / p->objsize;
}

static int no_record(struct rp_device *d, const char *why)
{
	dev_err(&d->pdev->dev, "the backend's memory cannot be used: %s\n", why);
	return -EPROTO;
}

int rp_device_find_record(struct rp_device *d)
{
	const struct rp_directory *dir = (const void *)d->base;
	struct rp_pool_info guests;
	u32 version;

	if (d->peer == 0) /* the backend's own id, and of records that are nobody's */
		return no_record(d, "the device gave this guest no id");
	if (d->bytes < RP_DIRECTORY_BYTES || rp_load(&dir->magic) != RP_DIRECTORY_MAGIC)
		return -ENODEV;
	version = rp_load(&dir->version);
	if (version != RP_DIRECTORY_VERSION) {
		dev_err(&d->pdev->dev,
			"the backend's directory has version %u, this driver knows %d: install the driver of the backend's release\n",
			version, RP_DIRECTORY_VERSION);
		return -EPROTO;
	}
	if (!rp_view_open(&d->view, d->base, d->bytes))
		return no_record(d, "its pools do not lie inside");
	memcpy(&d->if_pool, &dir->if_pool, sizeof(d->if_pool));
	memcpy(&guests, &dir->guest_pool, sizeof(guests));
	barrier(); /* what is checked are the copies */
	if (!pool_inside(&d->if_pool, d->bytes, sizeof(struct netmap_if)) || !guests.objtotal ||
	    !pool_inside(&guests, d->bytes, RP_GUEST_BYTES))
		return no_record(d, "it has no records of guests, or not inside");
	for (u32 i = 0; i < guests.objtotal; i++) {
		u8 *at = d->base + guests.offset + (u64)i * guests.objsize;
		const struct rp_guest *record = (const void *)at;

		if (rp_load_acquire(&record->peer) == d->peer) {
			d->record = record;
			d->request = (void *)(at + RP_GUEST_PAGE_BYTES);
			return 0;
		}
	}
	return no_record(d, "it has no record of this guest");
}

static void take_name(char *to, const char *from, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++) {
		const char c = rp_load(&from[i]);

		to[i] = !c || (isascii(c) && isgraph(c)) ? c : '?';
	}
	to[bytes - 1] = '\0';
}

static const char *nonsense(const struct rp_port_info *i)
{
	if (!is_valid_ether_addr(i->mac))
		return "the MAC address is none";
	if (i->mtu < ETH_MIN_MTU)
		return "the MTU is too small";
	if (!i->tx_rings || i->tx_rings > RP_MAX_RINGS || !i->rx_rings ||
	    i->rx_rings > RP_MAX_RINGS)
		return "the port has no rings, or too many";
	if (!i->vectors || i->vectors > RP_MAX_VECTORS)
		return "it has no vectors, or too many";
	if (!i->opens || i->opens > RP_GUEST_OPENS)
		return "the guest may open nothing, or too much";
	return NULL;
}

int rp_device_read_info(struct rp_device *d, struct rp_port_info *info)
{
	const struct rp_guest *r = d->record;
	const char *why;

	*info = (struct rp_port_info){
		.epoch = rp_load(&r->epoch),
		.link = rp_load(&r->link) != 0,
		.mtu = rp_load(&r->mtu),
		.tx_rings = rp_load(&r->tx_rings),
		.rx_rings = rp_load(&r->rx_rings),
		.tx_slots = rp_load(&r->tx_slots),
		.rx_slots = rp_load(&r->rx_slots),
		.vectors = rp_load(&r->vectors),
		.opens = rp_load(&r->opens),
		.extra_bufs = rp_load(&r->extra_bufs),
		.offloads = rp_load(&r->offloads),
	};
	for (int i = 0; i < ETH_ALEN; i++)
		info->mac[i] = rp_load(&r->mac[i]);
	take_name(info->port, r->port, sizeof(info->port));
	if (d->transport->override)
		d->transport->override(d, info);
	if (rp_load(&r->version) != RP_GUEST_VERSION)
		why = "its version is another one than this driver's";
	else
		why = nonsense(info);
	if (why)
		dev_err_ratelimited(&d->pdev->dev, "the record of this guest cannot be used: %s\n",
				    why);
	return why ? -EPROTO : 0;
}
