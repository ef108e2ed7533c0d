// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * Mappings of the region. Pages come with faults, many at a time: a mapping that is
 * being made cannot be found yet by who takes all of them away, a fault can be refused.
 * They are as the kernel's own mapping is, write-back.
 *
 * A program reaches what netmap shows it, and nothing else: not the directory, the mailbox
 * or the CSBs, by which this kernel and the backend agree on all opens of the guest.
 */
#include "rp_compat.h"
#include "rp_netmap.h"

#define AROUND (512 * PAGE_SIZE)

static bool meets(const struct rp_pool_info *p, u64 at)
{
	return at + PAGE_SIZE > p->offset && at < p->offset + (u64)p->objtotal * p->objsize;
}

/* Is the page at offset @at of the region one for programs? Pools begin with a page. */
static bool is_for_programs(const struct rp_device *d, u64 at)
{
	return meets(&d->if_pool, at) || meets(&d->view.rings, at) || meets(&d->view.bufs, at);
}

static vm_fault_t insert_page(struct vm_area_struct *vma, const struct rp_device *d,
			      unsigned long address)
{
	const unsigned long page = vma->vm_pgoff + ((address - vma->vm_start) >> PAGE_SHIFT);

	if (!is_for_programs(d, (u64)page << PAGE_SHIFT))
		return VM_FAULT_SIGBUS;
	return vmf_insert_pfn(vma, address, PHYS_PFN(d->phys) + page);
}

static vm_fault_t insert(struct vm_fault *vmf, const struct rp_device *d)
{
	struct vm_area_struct *vma = vmf->vma;
	unsigned long from = max(vmf->address & ~(AROUND - 1), vma->vm_start);
	unsigned long to = min((vmf->address & ~(AROUND - 1)) + AROUND, vma->vm_end);
	vm_fault_t result = insert_page(vma, d, vmf->address & PAGE_MASK);

	/* Of those around it, what cannot be had is not missed. */
	for (unsigned long at = from; at < to && result == VM_FAULT_NOPAGE; at += PAGE_SIZE)
		insert_page(vma, d, at);
	return result;
}

static vm_fault_t fault(struct vm_fault *vmf)
{
	struct rp_file *f = vmf->vma->vm_file->private_data;
	vm_fault_t result = VM_FAULT_SIGBUS;

	mutex_lock(&f->map_lock);
	if (!f->unmapped)
		result = insert(vmf, f->open->dev);
	mutex_unlock(&f->map_lock);
	return result;
}

static const struct vm_operations_struct vm_ops = {
	.fault = fault,
};

int rp_netmap_mmap(struct file *file, struct vm_area_struct *vma)
{
	struct rp_file *f = file->private_data;
	u64 bytes = vma->vm_end - vma->vm_start;
	u64 offset = (u64)vma->vm_pgoff << PAGE_SHIFT;

	if (!rp_file_bound(f) || !(vma->vm_flags & VM_SHARED))
		return -EINVAL;
	if (vma->vm_pgoff > f->open->dev->bytes >> PAGE_SHIFT ||
	    bytes > f->open->dev->bytes - offset)
		return -EINVAL;
	rp_vm_flags_set(vma, VM_IO | VM_PFNMAP | VM_DONTEXPAND | VM_DONTDUMP);
	vma->vm_ops = &vm_ops;
	return 0;
}

/* The device's inode is shared by all files; what one of them mapped is to be found alone. */
void rp_file_mapping_init(struct rp_file *f, struct file *file)
{
	mutex_init(&f->map_lock);
	address_space_init_once(&f->mapping);
	f->mapping.host = file_inode(file);
	f->mapping.a_ops = file->f_mapping->a_ops;
	file->f_mapping = &f->mapping;
}

void rp_file_unmap(struct rp_file *f)
{
	mutex_lock(&f->map_lock);
	f->unmapped = true;
	mutex_unlock(&f->map_lock);
	unmap_mapping_range(&f->mapping, 0, 0, 1);
}
