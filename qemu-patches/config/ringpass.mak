# The devices of a small PC for virtual machines with ringpass's ports: what a guest of a test, and
# a libvirt domain with direct kernel boot, can be made of.
CONFIG_I440FX=y
CONFIG_Q35=y
CONFIG_PCIE_PORT=y
CONFIG_VIRTIO_PCI=y
CONFIG_VIRTIO_NET=y
CONFIG_VIRTIO_BLK=y
CONFIG_VIRTIO_SCSI=y
CONFIG_VIRTIO_BALLOON=y
CONFIG_VIRTIO_RNG=y
CONFIG_VIRTIO_SERIAL=y
CONFIG_IVSHMEM_DEVICE=y
CONFIG_PTNET=y
# libvirt adds a USB controller to a domain that does not say that it has none.
CONFIG_USB_UHCI=y
CONFIG_USB_EHCI_PCI=y
CONFIG_USB_XHCI_PCI=y
# What `-machine pc` has unless told otherwise: QEMU's own device tests do not tell it.
CONFIG_PARALLEL=y
CONFIG_VGA_PCI=y
# A network card that every guest has a driver for.
CONFIG_E1000_PCI=y
