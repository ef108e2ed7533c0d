// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * Mappings of the region. Pages come with faults, many at a time: a mapping that is
 * being made cannot be found yet by who takes all of them away, a fault can be refused.
 * They are as the kernel's own mapping is, write-back.
 */
#include "rp_compat.h"
#include "rp_netmap.h"

#define AROUND (512 * PAGE_SIZE)

static vm_fault_t insert(struct vm_fault *vmf, const struct rp_device *d)
{
	struct vm_area_struct *vma = vmf->vma;
	unsigned long from = max(vmf->address & ~(AROUND - 1), vma->vm_start);
	unsigned long to = min((vmf->address & ~(AROUND - 1)) + AROUND, vma->vm_end);
	unsigned long pfn = PHYS_PFN(d->phys) + vma->vm_pgoff;
	vm_fault_t result;

	result = vmf_insert_pfn(vma, vmf->address & PAGE_MASK,
				pfn + ((vmf->address - vma->vm_start) >> PAGE_SHIFT));
	for (unsigned long at = from; at < to && result == VM_FAULT_NOPAGE; at += PAGE_SIZE)
		result = vmf_insert_pfn(vma, at, pfn + ((at - vma->vm_start) >> PAGE_SHIFT));
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
