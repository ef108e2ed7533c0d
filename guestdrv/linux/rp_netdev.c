// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* The interface rpN: when it has the port's rings, and what it can do. */
#include <linux/etherdevice.h>
#include <linux/rtnetlink.h>
#include <linux/slab.h>
#include <linux/virtio_net.h>

#include "rp_netdev.h"
#include "rp_wire.h"

#define TRY_AGAIN (5 * HZ) /* to register rings */

/* --- offloads ------------------------------------------------------------ */

/* What the stack may leave undone if the port's other side agreed to do it. */
static const struct {
	u8 bit;
	netdev_features_t feature;
} offloads[] = {
	{ VIRTIO_NET_F_CSUM, NETIF_F_HW_CSUM },
	{ VIRTIO_NET_F_HOST_TSO4, NETIF_F_TSO },
	{ VIRTIO_NET_F_HOST_TSO6, NETIF_F_TSO6 },
	{ VIRTIO_NET_F_HOST_ECN, NETIF_F_TSO_ECN },
	{ VIRTIO_NET_F_GUEST_CSUM, NETIF_F_RXCSUM },
	{ VIRTIO_NET_F_GUEST_TSO4, 0 },
	{ VIRTIO_NET_F_GUEST_TSO6, 0 },
	{ VIRTIO_NET_F_GUEST_ECN, 0 },
};

static u64 wanted_offloads(const struct rp_device *d)
{
	u64 known = 0;

	for (int i = 0; i < ARRAY_SIZE(offloads); i++)
		known |= BIT_ULL(offloads[i].bit);
	/* Without checksums nothing else makes sense. */
	return d->info.offloads & BIT_ULL(VIRTIO_NET_F_CSUM) ? d->info.offloads & known : 0;
}

static netdev_features_t features_of(u64 virtio)
{
	netdev_features_t features = 0;

	for (int i = 0; i < ARRAY_SIZE(offloads); i++)
		if (virtio & BIT_ULL(offloads[i].bit))
			features |= offloads[i].feature;
	return features;
}

/* --- having the rings, or not -------------------------------------------- */

static void set_carrier(struct net_device *netdev)
{
	const struct rp_netdev *n = netdev_priv(netdev);

	if (n->dev->info.link && !n->broken && (n->open || n->lent))
		netif_carrier_on(netdev);
	else
		netif_carrier_off(netdev);
}

void rp_netdev_broken(struct net_device *netdev, const char *why)
{
	struct rp_netdev *n = netdev_priv(netdev);

	if (xchg(&n->broken, true))
		return;
	netdev_err(netdev, "stopped: %s; take it down and up to try again\n", why);
	netif_carrier_off(netdev);
}

static bool has_all_rings(const struct net_device *netdev, const struct rp_open *o)
{
	for (unsigned int i = 0; i < netdev->real_num_tx_queues; i++)
		if (!rp_open_ring(o, NETMAP_DIR_TX, i))
			return false;
	for (unsigned int i = 0; i < netdev->real_num_rx_queues; i++)
		if (!rp_open_ring(o, NETMAP_DIR_RX, i))
			return false;
	return true;
}

static int register_rings(struct net_device *netdev, struct rp_open *o)
{
	struct rp_netdev *n = netdev_priv(netdev);
	int ret;

	if (n->features) {
		ret = rp_open_offloads(o, n->features);
		if (ret)
			return ret;
	}
	ret = rp_wire_register(o);
	if (!ret && !has_all_rings(netdev, o)) {
		netdev_err(netdev, "the port has other rings than before: bind the device anew\n");
		ret = -EPROTO;
	}
	return ret;
}

/* The rings are there: let frames through. */
static void go(struct net_device *netdev)
{
	struct rp_netdev *n = netdev_priv(netdev);

	n->broken = false;
	for (unsigned int i = 0; i < netdev->real_num_rx_queues; i++) {
		rp_rx_attach(&n->rx[i], rp_open_ring(n->open, NETMAP_DIR_RX, i));
		napi_enable(&n->rx[i].napi);
		local_bh_disable();
		napi_schedule(&n->rx[i].napi); /* it arms the ring */
		local_bh_enable();
	}
	for (unsigned int i = 0; i < netdev->real_num_tx_queues; i++)
		rp_tx_attach(&n->tx[i], rp_open_ring(n->open, NETMAP_DIR_TX, i));
}

static int take_rings(struct net_device *netdev)
{
	struct rp_netdev *n = netdev_priv(netdev);
	struct rp_open *o;
	int ret;

	ASSERT_RTNL();
	o = rp_open_interface(n->dev);
	if (IS_ERR(o))
		return PTR_ERR(o);
	ret = register_rings(netdev, o);
	if (ret) {
		rp_open_close(o);
		return ret;
	}
	n->open = o;
	go(netdev);
	return 0;
}

static void leave_rings(struct net_device *netdev)
{
	struct rp_netdev *n = netdev_priv(netdev);

	ASSERT_RTNL();
	if (!n->open)
		return;
	for (unsigned int i = 0; i < netdev->real_num_tx_queues; i++)
		rp_tx_detach(&n->tx[i]);
	for (unsigned int i = 0; i < netdev->real_num_rx_queues; i++)
		napi_disable(&n->rx[i].napi);
	synchronize_net(); /* a poller arms its ring when NAPI is through with it already */
	for (unsigned int i = 0; i < netdev->real_num_rx_queues; i++)
		rp_rx_detach(&n->rx[i]);
	rp_open_close(n->open);
	n->open = NULL;
}

/* Have the rings, or not, as things are now. What fails is tried again while it is up. */
static int settle(struct net_device *netdev)
{
	struct rp_netdev *n = netdev_priv(netdev);
	const bool want = netif_running(netdev) && !n->lent && !n->halted;
	int ret = 0;

	if (!want)
		leave_rings(netdev);
	else if (!n->open)
		ret = take_rings(netdev);
	if (ret && !n->refused)
		netdev_err(netdev, "cannot register the port's rings: error %d\n", -ret);
	n->refused = ret != 0;
	if (ret)
		queue_delayed_work(system_freezable_wq, &n->again, TRY_AGAIN);
	set_carrier(netdev);
	/* Without rings they drop what comes: it would be stale later. */
	if (netif_running(netdev) && !n->halted)
		netif_tx_wake_all_queues(netdev);
	return ret;
}

/* The port's rings were somebody else's, or the backend was away. */
static void settle_again(struct work_struct *again)
{
	struct rp_netdev *n = container_of(to_delayed_work(again), struct rp_netdev, again);

	rtnl_lock();
	if (n->dev->netdev)
		settle(n->dev->netdev);
	rtnl_unlock();
}

/* --- what the core asks for ---------------------------------------------- */

void rp_netdev_suspend_rings(struct rp_device *d)
{
	rtnl_lock();
	if (d->netdev) {
		struct rp_netdev *n = netdev_priv(d->netdev);

		n->lent++;
		settle(d->netdev);
	}
	rtnl_unlock();
}

void rp_netdev_resume_rings(struct rp_device *d)
{
	rtnl_lock();
	if (d->netdev) {
		struct rp_netdev *n = netdev_priv(d->netdev);

		n->lent--;
		settle(d->netdev);
	}
	rtnl_unlock();
}

static void limit_mtu(struct rp_device *d)
{
	struct net_device *netdev = d->netdev;

	netdev->max_mtu = d->info.mtu;
	if (netdev->mtu > netdev->max_mtu)
		dev_set_mtu(netdev, netdev->max_mtu);
}

void rp_netdev_changed(struct rp_device *d)
{
	if (!d->netdev)
		return;
	limit_mtu(d);
	set_carrier(d->netdev);
}

void rp_netdev_halt(struct rp_device *d)
{
	struct rp_netdev *n;

	if (!d->netdev)
		return;
	n = netdev_priv(d->netdev);
	netif_device_detach(d->netdev);
	n->halted = true;
	settle(d->netdev);
}

void rp_netdev_restart(struct rp_device *d)
{
	struct rp_netdev *n;

	if (!d->netdev)
		return;
	n = netdev_priv(d->netdev);
	n->halted = false;
	netif_device_attach(d->netdev);
	limit_mtu(d);
	settle(d->netdev);
}

/* --- what the stack asks for --------------------------------------------- */

static int rp_ndo_open(struct net_device *netdev)
{
	struct rp_netdev *n = netdev_priv(netdev);
	int ret;

	n->refused = false;
	ret = settle(netdev);
	if (ret)
		netif_tx_stop_all_queues(netdev);
	return ret;
}

static int rp_ndo_stop(struct net_device *netdev)
{
	netif_tx_disable(netdev);
	leave_rings(netdev);
	netif_carrier_off(netdev);
	return 0;
}

/* What one queue counted, added to @sum in the order of rp_queue_stats. */
static void read_stats(const struct rp_queue_stats *s, u64 sum[4])
{
	u64 now[4];
	unsigned int start;

	do {
		start = u64_stats_fetch_begin(&s->sync);
		now[0] = u64_stats_read(&s->packets);
		now[1] = u64_stats_read(&s->bytes);
		now[2] = u64_stats_read(&s->drops);
		now[3] = u64_stats_read(&s->errors);
	} while (u64_stats_fetch_retry(&s->sync, start));
	for (int i = 0; i < 4; i++)
		sum[i] += now[i];
}

static void rp_ndo_get_stats64(struct net_device *netdev, struct rtnl_link_stats64 *to)
{
	const struct rp_netdev *n = netdev_priv(netdev);
	u64 tx[4] = {}, rx[4] = {};

	for (unsigned int i = 0; i < netdev->num_tx_queues; i++)
		read_stats(&n->tx[i].stats, tx);
	for (unsigned int i = 0; i < netdev->num_rx_queues; i++)
		read_stats(&n->rx[i].stats, rx);
	to->tx_packets = tx[0];
	to->tx_bytes = tx[1];
	to->tx_dropped = tx[2];
	to->tx_errors = tx[3];
	to->rx_packets = rx[0];
	to->rx_bytes = rx[1];
	to->rx_dropped = rx[2];
	to->rx_errors = rx[3];
}

static const struct net_device_ops rp_netdev_ops = {
	.ndo_open = rp_ndo_open,
	.ndo_stop = rp_ndo_stop,
	.ndo_start_xmit = rp_tx_xmit,
	.ndo_get_stats64 = rp_ndo_get_stats64,
	.ndo_validate_addr = eth_validate_addr,
	.ndo_set_mac_address = eth_mac_addr,
};

/* --- coming and going ---------------------------------------------------- */

static void init_stats(struct rp_queue_stats *s)
{
	u64_stats_init(&s->sync);
}

static int add_queues(struct net_device *netdev)
{
	struct rp_netdev *n = netdev_priv(netdev);

	n->tx = kvcalloc(netdev->num_tx_queues, sizeof(*n->tx), GFP_KERNEL);
	n->rx = kvcalloc(netdev->num_rx_queues, sizeof(*n->rx), GFP_KERNEL);
	if (!n->tx || !n->rx)
		return -ENOMEM;
	for (unsigned int i = 0; i < netdev->num_tx_queues; i++) {
		n->tx[i].netdev = netdev;
		n->tx[i].queue = netdev_get_tx_queue(netdev, i);
		init_stats(&n->tx[i].stats);
	}
	for (unsigned int i = 0; i < netdev->num_rx_queues; i++) {
		n->rx[i].netdev = netdev;
		n->rx[i].index = i;
		init_stats(&n->rx[i].stats);
		netif_napi_add(netdev, &n->rx[i].napi, rp_rx_poll);
	}
	return 0;
}

static void free_all(struct net_device *netdev)
{
	struct rp_netdev *n = netdev_priv(netdev);

	if (n->rx)
		for (unsigned int i = 0; i < netdev->num_rx_queues; i++)
			netif_napi_del(&n->rx[i].napi);
	kvfree(n->tx);
	kvfree(n->rx);
	free_netdev(netdev);
}

static void describe(struct net_device *netdev)
{
	struct rp_netdev *n = netdev_priv(netdev);
	const struct rp_port_info *info = &n->dev->info;

	n->features = wanted_offloads(n->dev);
	n->header_bytes = n->features ? RP_HEADER_BYTES : 0;
	netdev->netdev_ops = &rp_netdev_ops;
	netdev->ethtool_ops = &rp_ethtool_ops;
	eth_hw_addr_set(netdev, info->mac);
	netdev->min_mtu = ETH_MIN_MTU;
	netdev->max_mtu = info->mtu;
	netdev->mtu = min_t(unsigned int, info->mtu, ETH_DATA_LEN);
	netdev->features =
		NETIF_F_SG | NETIF_F_FRAGLIST | NETIF_F_HIGHDMA | features_of(n->features);
	netdev->hw_features = netdev->features & ~NETIF_F_RXCSUM & ~NETIF_F_HIGHDMA;
	netdev->vlan_features = netdev->features;
	netif_set_tso_max_size(netdev, GSO_LEGACY_MAX_SIZE);
}

int rp_netdev_add(struct rp_device *d)
{
	struct net_device *netdev =
		alloc_netdev_mqs(sizeof(struct rp_netdev), "rp%d", NET_NAME_ENUM, ether_setup,
				 d->info.tx_rings, d->info.rx_rings);
	struct rp_netdev *n;
	int ret;

	if (!netdev)
		return -ENOMEM;
	n = netdev_priv(netdev);
	n->dev = d;
	INIT_DELAYED_WORK(&n->again, settle_again);
	SET_NETDEV_DEV(netdev, &d->pdev->dev);
	describe(netdev);
	ret = add_queues(netdev);
	if (ret) {
		free_all(netdev);
		return ret;
	}
	netif_carrier_off(netdev);
	rtnl_lock();
	ret = register_netdevice(netdev);
	if (!ret)
		d->netdev = netdev;
	rtnl_unlock();
	if (ret)
		free_all(netdev);
	return ret;
}

void rp_netdev_remove(struct rp_device *d)
{
	struct net_device *netdev = d->netdev;
	struct rp_netdev *n = netdev_priv(netdev);

	rtnl_lock();
	d->netdev = NULL;
	unregister_netdevice(netdev);
	rtnl_unlock();
	cancel_delayed_work_sync(&n->again);
	free_all(netdev);
}
