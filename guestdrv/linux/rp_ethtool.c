// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* What ethtool shows. */
#include <linux/ethtool.h>

#include "rp_netdev.h"

static const char *const tx_names[] = { "packets", "bytes", "drops", "errors", "stops" };
static const char *const rx_names[] = { "packets", "bytes", "drops", "errors", "polls" };

enum { COUNTERS = ARRAY_SIZE(tx_names) };

static void get_drvinfo(struct net_device *netdev, struct ethtool_drvinfo *info)
{
	const struct rp_netdev *n = netdev_priv(netdev);

	strscpy(info->driver, RP_DRIVER_NAME, sizeof(info->driver));
	strscpy(info->bus_info, pci_name(n->dev->pdev), sizeof(info->bus_info));
	strscpy(info->fw_version, n->dev->info.port, sizeof(info->fw_version));
}

static int get_sset_count(struct net_device *netdev, int set)
{
	return set == ETH_SS_STATS ? (netdev->num_tx_queues + netdev->num_rx_queues) * COUNTERS :
				     -EOPNOTSUPP;
}

static void get_strings(struct net_device *netdev, u32 set, u8 *to)
{
	if (set != ETH_SS_STATS)
		return;
	for (unsigned int i = 0; i < netdev->num_tx_queues; i++)
		for (int k = 0; k < COUNTERS; k++)
			ethtool_sprintf(&to, "tx_queue_%u_%s", i, tx_names[k]);
	for (unsigned int i = 0; i < netdev->num_rx_queues; i++)
		for (int k = 0; k < COUNTERS; k++)
			ethtool_sprintf(&to, "rx_queue_%u_%s", i, rx_names[k]);
}

static u64 *take(const struct rp_queue_stats *s, u64 *to)
{
	unsigned int start;

	do {
		start = u64_stats_fetch_begin(&s->sync);
		to[0] = u64_stats_read(&s->packets);
		to[1] = u64_stats_read(&s->bytes);
		to[2] = u64_stats_read(&s->drops);
		to[3] = u64_stats_read(&s->errors);
		to[4] = u64_stats_read(&s->events);
	} while (u64_stats_fetch_retry(&s->sync, start));
	return to + COUNTERS;
}

static void get_ethtool_stats(struct net_device *netdev, struct ethtool_stats *stats, u64 *to)
{
	const struct rp_netdev *n = netdev_priv(netdev);

	for (unsigned int i = 0; i < netdev->num_tx_queues; i++)
		to = take(&n->tx[i].stats, to);
	for (unsigned int i = 0; i < netdev->num_rx_queues; i++)
		to = take(&n->rx[i].stats, to);
}

/* The host decides how many there are. */
static void get_channels(struct net_device *netdev, struct ethtool_channels *c)
{
	c->max_tx = netdev->num_tx_queues;
	c->tx_count = netdev->real_num_tx_queues;
	c->max_rx = netdev->num_rx_queues;
	c->rx_count = netdev->real_num_rx_queues;
}

static void get_ringparam(struct net_device *netdev, struct ethtool_ringparam *ring,
			  struct kernel_ethtool_ringparam *more, struct netlink_ext_ack *ack)
{
	const struct rp_netdev *n = netdev_priv(netdev);

	ring->tx_max_pending = n->dev->info.tx_slots;
	ring->tx_pending = n->dev->info.tx_slots;
	ring->rx_max_pending = n->dev->info.rx_slots;
	ring->rx_pending = n->dev->info.rx_slots;
}

static int get_link_ksettings(struct net_device *netdev, struct ethtool_link_ksettings *s)
{
	s->base.speed = SPEED_UNKNOWN; /* memory has none */
	s->base.duplex = DUPLEX_FULL;
	s->base.port = PORT_OTHER;
	s->base.autoneg = AUTONEG_DISABLE;
	return 0;
}

const struct ethtool_ops rp_ethtool_ops = {
	.get_drvinfo = get_drvinfo,
	.get_link = ethtool_op_get_link,
	.get_sset_count = get_sset_count,
	.get_strings = get_strings,
	.get_ethtool_stats = get_ethtool_stats,
	.get_channels = get_channels,
	.get_ringparam = get_ringparam,
	.get_link_ksettings = get_link_ksettings,
	.get_ts_info = ethtool_op_get_ts_info,
};
