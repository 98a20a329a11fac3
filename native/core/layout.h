// What device and driver agree on, byte by byte: the structures of OASIS virtio 1.2, as they lie in memory.
// Its twin is src/nic/layout.ts; test/nic/layout.test.ts proves that both agree field by field.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>

namespace ringcube {

static_assert(std::endian::native == std::endian::little, "virtio structures are little-endian (§1.4)");

// §2.7.5 The virtqueue descriptor table.
struct VirtqDesc {
  uint64_t addr;
  uint32_t len;
  uint16_t flags;
  uint16_t next;
};
static_assert(sizeof(VirtqDesc) == 16);
inline constexpr uint16_t kDescNext = 1;
inline constexpr uint16_t kDescWrite = 2;
inline constexpr uint16_t kDescIndirect = 4;

// §2.7.6 The available ring: flags, idx, ring[size], used_event.
inline constexpr size_t kAvailFlags = 0;
inline constexpr size_t kAvailIdx = 2;
inline constexpr size_t kAvailRing = 4;
inline constexpr uint16_t kAvailNoInterrupt = 1;

// §2.7.8 The used ring: flags, idx, ring[size] of {id, len}, avail_event.
struct VirtqUsedElem {
  uint32_t id;
  uint32_t len;
};
static_assert(sizeof(VirtqUsedElem) == 8);
inline constexpr size_t kUsedFlags = 0;
inline constexpr size_t kUsedIdx = 2;
inline constexpr size_t kUsedRing = 4;
inline constexpr uint16_t kUsedNoNotify = 1;

inline constexpr uint32_t kQueueSizeMax = 32768;  // §2.7: a power of two of at most 32768
constexpr size_t desc_bytes(uint32_t size) { return size_t{16} * size; }
constexpr size_t avail_bytes(uint32_t size) { return 6 + size_t{2} * size; }
constexpr size_t used_bytes(uint32_t size) { return 6 + size_t{8} * size; }

// §5.1.6 The header before every frame. With VIRTIO_F_VERSION_1 it always has num_buffers.
struct VirtioNetHdr {
  uint8_t flags;
  uint8_t gso_type;
  uint16_t hdr_len;
  uint16_t gso_size;
  uint16_t csum_start;
  uint16_t csum_offset;
  uint16_t num_buffers;
};
static_assert(sizeof(VirtioNetHdr) == 12);
inline constexpr uint8_t kHdrNeedsCsum = 1;
inline constexpr uint8_t kHdrDataValid = 2;
inline constexpr uint8_t kHdrGsoNone = 0;

// §5.1.4 The part of the configuration space that this device has.
struct VirtioNetConfig {
  uint8_t mac[6];
  uint16_t status;
  uint16_t max_virtqueue_pairs;
  uint16_t mtu;
};
static_assert(sizeof(VirtioNetConfig) == 12);
inline constexpr uint16_t kNetLinkUp = 1;

// Feature bits, §5.1.3 and §6.
inline constexpr uint32_t kFeatureCsum = 0;
inline constexpr uint32_t kFeatureGuestCsum = 1;
inline constexpr uint32_t kFeatureCtrlGuestOffloads = 2;
inline constexpr uint32_t kFeatureMtu = 3;
inline constexpr uint32_t kFeatureMac = 5;
inline constexpr uint32_t kFeatureMrgRxbuf = 15;
inline constexpr uint32_t kFeatureStatus = 16;
inline constexpr uint32_t kFeatureCtrlVq = 17;
inline constexpr uint32_t kFeatureCtrlRx = 18;
inline constexpr uint32_t kFeatureCtrlRxExtra = 20;
inline constexpr uint32_t kFeatureMq = 22;
inline constexpr uint32_t kFeatureCtrlMacAddr = 23;
inline constexpr uint32_t kFeatureIndirectDesc = 28;
inline constexpr uint32_t kFeatureEventIdx = 29;
inline constexpr uint32_t kFeatureVersion1 = 32;
inline constexpr uint32_t kFeatureInOrder = 35;
inline constexpr uint32_t kFeatureRingReset = 40;
inline constexpr uint32_t kFeatureNotfCoal = 53;
constexpr uint64_t feature(uint32_t bit) { return uint64_t{1} << bit; }

// §2.1 Device status.
inline constexpr uint8_t kStatusAcknowledge = 1;
inline constexpr uint8_t kStatusDriver = 2;
inline constexpr uint8_t kStatusDriverOk = 4;
inline constexpr uint8_t kStatusFeaturesOk = 8;
inline constexpr uint8_t kStatusNeedsReset = 64;
inline constexpr uint8_t kStatusFailed = 128;

// §5.1.6.5 Control queue: {class, command, data…} read, one ack byte written.
inline constexpr uint8_t kCtrlOk = 0;
inline constexpr uint8_t kCtrlErr = 1;
inline constexpr uint8_t kCtrlRx = 0;
inline constexpr uint8_t kCtrlRxPromisc = 0;
inline constexpr uint8_t kCtrlRxAllmulti = 1;
inline constexpr uint8_t kCtrlRxAlluni = 2;
inline constexpr uint8_t kCtrlRxNomulti = 3;
inline constexpr uint8_t kCtrlRxNouni = 4;
inline constexpr uint8_t kCtrlRxNobcast = 5;
inline constexpr uint8_t kCtrlMac = 1;
inline constexpr uint8_t kCtrlMacTableSet = 0;
inline constexpr uint8_t kCtrlMacAddrSet = 1;
inline constexpr uint8_t kCtrlMq = 4;
inline constexpr uint8_t kCtrlMqVqPairsSet = 0;
inline constexpr uint8_t kCtrlGuestOffloads = 5;
inline constexpr uint8_t kCtrlGuestOffloadsSet = 0;
inline constexpr uint8_t kCtrlNotfCoal = 6;
inline constexpr uint8_t kCtrlNotfCoalTxSet = 0;
inline constexpr uint8_t kCtrlNotfCoalRxSet = 1;
struct VirtioNetCtrlCoal {
  uint32_t max_packets;
  uint32_t max_usecs;
};
static_assert(sizeof(VirtioNetCtrlCoal) == 8);

// §4.2.2 The registers, as MMIO has them. Here a call or a message reads and writes them: the slow path only.
inline constexpr uint32_t kRegMagicValue = 0x000;
inline constexpr uint32_t kRegVersion = 0x004;
inline constexpr uint32_t kRegDeviceId = 0x008;
inline constexpr uint32_t kRegVendorId = 0x00c;
inline constexpr uint32_t kRegDeviceFeatures = 0x010;
inline constexpr uint32_t kRegDeviceFeaturesSel = 0x014;
inline constexpr uint32_t kRegDriverFeatures = 0x020;
inline constexpr uint32_t kRegDriverFeaturesSel = 0x024;
inline constexpr uint32_t kRegQueueSel = 0x030;
inline constexpr uint32_t kRegQueueSizeMax = 0x034;
inline constexpr uint32_t kRegQueueSize = 0x038;
inline constexpr uint32_t kRegQueueReady = 0x044;
inline constexpr uint32_t kRegQueueNotify = 0x050;
inline constexpr uint32_t kRegStatus = 0x070;
inline constexpr uint32_t kRegQueueDescLow = 0x080;
inline constexpr uint32_t kRegQueueDescHigh = 0x084;
inline constexpr uint32_t kRegQueueDriverLow = 0x090;
inline constexpr uint32_t kRegQueueDriverHigh = 0x094;
inline constexpr uint32_t kRegQueueDeviceLow = 0x0a0;
inline constexpr uint32_t kRegQueueDeviceHigh = 0x0a4;
inline constexpr uint32_t kRegQueueReset = 0x0c0;
inline constexpr uint32_t kRegConfigGeneration = 0x0fc;
inline constexpr uint32_t kRegConfig = 0x100;
inline constexpr uint32_t kMagicValue = 0x74726976;  // "virt"
inline constexpr uint32_t kDeviceIdNet = 1;
inline constexpr uint32_t kVendorId = 0x43524e47;  // "GNRC": ours, none is registered for MMIO

// The interrupt page: shared by a device and its driver, beside the region. One bit a vector: queue pair i
// has vector i, the control queue and configuration changes have the last one. `signalled` says that the
// eventfd has been written and not yet taken, so that a burst of interrupts costs one system call.
inline constexpr uint32_t kVectors = 128;
inline constexpr uint32_t kVectorConfig = kVectors - 1;
inline constexpr uint32_t kMaxQueuePairs = kVectors - 1;
struct InterruptPage {
  uint32_t signalled;
  uint32_t broken_queues;  // queues stopped by a bad descriptor since the device was made
  uint32_t pending[kVectors / 32];
};
static_assert(sizeof(InterruptPage) == 24);

}  // namespace ringcube
