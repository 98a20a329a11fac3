// What device and driver agree on, byte by byte: the twin of native/core/layout.h, where each clause of virtio 1.2 is
// cited. test/nic/layout.test.ts proves that both agree: kFeatureCsum there is Feature.Csum here, and a structure's
// fields are offsets in bytes.

export const VirtqDesc = { size: 16, addr: 0, len: 8, flags: 12, next: 14 } as const;
export const Desc = { Next: 1, Write: 2, Indirect: 4 } as const;

export const Avail = { Flags: 0, Idx: 2, Ring: 4, NoInterrupt: 1 } as const;
export const VirtqUsedElem = { size: 8, id: 0, len: 4 } as const;
export const Used = { Flags: 0, Idx: 2, Ring: 4, NoNotify: 1 } as const;
export const QueueSizeMax = 32768;

/** Bytes of the three areas of a queue (§2.7), by its size. */
export const queueBytes = {
  desc: (size: number): number => 16 * size,
  avail: (size: number): number => 6 + 2 * size,
  used: (size: number): number => 6 + 8 * size,
} as const;

export const VirtioNetHdr = {
  size: 12,
  flags: 0,
  gso_type: 1,
  hdr_len: 2,
  gso_size: 4,
  csum_start: 6,
  csum_offset: 8,
  num_buffers: 10,
} as const;
export const Hdr = { NeedsCsum: 1, DataValid: 2, GsoNone: 0 } as const;

export const VirtioNetConfig = { size: 12, mac: 0, status: 6, max_virtqueue_pairs: 8, mtu: 10 } as const;
export const Net = { LinkUp: 1 } as const;

/** Feature bits by number, 0 to 63. */
export const Feature = {
  Csum: 0,
  GuestCsum: 1,
  CtrlGuestOffloads: 2,
  Mtu: 3,
  Mac: 5,
  MrgRxbuf: 15,
  Status: 16,
  CtrlVq: 17,
  CtrlRx: 18,
  CtrlRxExtra: 20,
  Mq: 22,
  CtrlMacAddr: 23,
  IndirectDesc: 28,
  EventIdx: 29,
  Version1: 32,
  InOrder: 35,
  RingReset: 40,
  NotfCoal: 53,
} as const;

export const Status = { Acknowledge: 1, Driver: 2, DriverOk: 4, FeaturesOk: 8, NeedsReset: 64, Failed: 128 } as const;

export const Ctrl = {
  Ok: 0,
  Err: 1,
  Rx: 0,
  RxPromisc: 0,
  RxAllmulti: 1,
  RxAlluni: 2,
  RxNomulti: 3,
  RxNouni: 4,
  RxNobcast: 5,
  Mac: 1,
  MacTableSet: 0,
  MacAddrSet: 1,
  Mq: 4,
  MqVqPairsSet: 0,
  GuestOffloads: 5,
  GuestOffloadsSet: 0,
  NotfCoal: 6,
  NotfCoalTxSet: 0,
  NotfCoalRxSet: 1,
} as const;
export const VirtioNetCtrlCoal = { size: 8, max_packets: 0, max_usecs: 4 } as const;

export const Reg = {
  MagicValue: 0x000,
  Version: 0x004,
  DeviceId: 0x008,
  VendorId: 0x00c,
  DeviceFeatures: 0x010,
  DeviceFeaturesSel: 0x014,
  DriverFeatures: 0x020,
  DriverFeaturesSel: 0x024,
  QueueSel: 0x030,
  QueueSizeMax: 0x034,
  QueueSize: 0x038,
  QueueReady: 0x044,
  QueueNotify: 0x050,
  Status: 0x070,
  QueueDescLow: 0x080,
  QueueDescHigh: 0x084,
  QueueDriverLow: 0x090,
  QueueDriverHigh: 0x094,
  QueueDeviceLow: 0x0a0,
  QueueDeviceHigh: 0x0a4,
  QueueReset: 0x0c0,
  ConfigGeneration: 0x0fc,
  Config: 0x100,
} as const;
export const MagicValue = 0x74726976;
export const DeviceIdNet = 1;
export const VendorId = 0x43524e47;

export const Vectors = 128;
export const VectorConfig = Vectors - 1;
export const MaxQueuePairs = Vectors - 1;
export const InterruptPage = { size: 24, signalled: 0, broken_queues: 4, pending: 8 } as const;

/** A steering rule as the device compares it (native/core/checksum.h), ports and addresses in network byte order. */
export const Flow = {
  size: 40,
  family: 0,
  protocol: 1,
  source_port: 2,
  destination_port: 4,
  source: 8,
  destination: 24,
} as const;
