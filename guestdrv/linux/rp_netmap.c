// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* The device: its name, opens and their ends. */
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/namei.h>
#include <linux/slab.h>

#include "rp_compat.h"
#include "rp_netmap.h"

static int netmap_open(struct inode *inode, struct file *file)
{
	struct rp_file *f = kzalloc(sizeof(*f), GFP_KERNEL);

	if (!f)
		return -ENOMEM;
	mutex_init(&f->control);
	init_waitqueue_head(&f->wait);
	spin_lock_init(&f->arm_lock);
	rp_hrtimer_setup(&f->nap, rp_file_nap_over);
	rp_file_mapping_init(f, file);
	file->private_data = f;
	return nonseekable_open(inode, file);
}

static int netmap_release(struct inode *inode, struct file *file)
{
	struct rp_file *f = file->private_data;

	hrtimer_cancel(&f->nap); /* nobody waits who could start it again */
	if (f->open) {
		rp_file_flush(f);
		rp_file_unbind(f);
	}
	kfree(f);
	return 0;
}

static const struct file_operations netmap_fops = {
	.owner = THIS_MODULE,
	.open = netmap_open,
	.release = netmap_release,
	.unlocked_ioctl = rp_netmap_ioctl,
	.poll = rp_netmap_poll,
	.mmap = rp_netmap_mmap,
};

static struct miscdevice netmap_device = {
	.minor = MISC_DYNAMIC_MINOR,
	.fops = &netmap_fops,
};

/* Is there a netmap already? Registering a second one would work and alarm people with a trace. */
static bool name_is_taken(void)
{
	struct path path;

	if (kern_path("/sys/class/misc/netmap", LOOKUP_FOLLOW, &path))
		return false;
	path_put(&path);
	return true;
}

int rp_netmap_init(void)
{
	int err;

	netmap_device.name = name_is_taken() ? "ringpass" : "netmap";
	err = misc_register(&netmap_device);
	if (!err)
		pr_info("ringpass: netmap programs find their device at /dev/%s\n",
			netmap_device.name);
	return err;
}

void rp_netmap_exit(void)
{
	misc_deregister(&netmap_device);
}
