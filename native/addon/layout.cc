// What layout.h says, for the test that compares it with src/nic/layout.ts.
#include "core/layout.h"

#include "addon/wrap.h"
#include "core/checksum.h"

namespace ringcube {

Napi::Object init_layout(Napi::Env env) {
  auto o = Napi::Object::New(env);
  const auto set = [&](const char* name, uint64_t value) {
    o.Set(name, Napi::Number::New(env, static_cast<double>(value)));
  };
#define FIELD(Struct, field) set(#Struct "." #field, offsetof(Struct, field))
#define SIZE(Struct) set(#Struct, sizeof(Struct))
#define CONSTANT(name) set(#name, name)
  SIZE(VirtqDesc);
  FIELD(VirtqDesc, addr);
  FIELD(VirtqDesc, len);
  FIELD(VirtqDesc, flags);
  FIELD(VirtqDesc, next);
  CONSTANT(kDescNext);
  CONSTANT(kDescWrite);
  CONSTANT(kDescIndirect);
  CONSTANT(kAvailFlags);
  CONSTANT(kAvailIdx);
  CONSTANT(kAvailRing);
  CONSTANT(kAvailNoInterrupt);
  SIZE(VirtqUsedElem);
  FIELD(VirtqUsedElem, id);
  FIELD(VirtqUsedElem, len);
  CONSTANT(kUsedFlags);
  CONSTANT(kUsedIdx);
  CONSTANT(kUsedRing);
  CONSTANT(kUsedNoNotify);
  CONSTANT(kQueueSizeMax);
  SIZE(VirtioNetHdr);
  FIELD(VirtioNetHdr, flags);
  FIELD(VirtioNetHdr, gso_type);
  FIELD(VirtioNetHdr, hdr_len);
  FIELD(VirtioNetHdr, gso_size);
  FIELD(VirtioNetHdr, csum_start);
  FIELD(VirtioNetHdr, csum_offset);
  FIELD(VirtioNetHdr, num_buffers);
  CONSTANT(kHdrNeedsCsum);
  CONSTANT(kHdrDataValid);
  CONSTANT(kHdrGsoNone);
  SIZE(VirtioNetConfig);
  FIELD(VirtioNetConfig, mac);
  FIELD(VirtioNetConfig, status);
  FIELD(VirtioNetConfig, max_virtqueue_pairs);
  FIELD(VirtioNetConfig, mtu);
  CONSTANT(kNetLinkUp);
  CONSTANT(kFeatureCsum);
  CONSTANT(kFeatureGuestCsum);
  CONSTANT(kFeatureCtrlGuestOffloads);
  CONSTANT(kFeatureMtu);
  CONSTANT(kFeatureMac);
  CONSTANT(kFeatureMrgRxbuf);
  CONSTANT(kFeatureStatus);
  CONSTANT(kFeatureCtrlVq);
  CONSTANT(kFeatureCtrlRx);
  CONSTANT(kFeatureCtrlRxExtra);
  CONSTANT(kFeatureMq);
  CONSTANT(kFeatureCtrlMacAddr);
  CONSTANT(kFeatureIndirectDesc);
  CONSTANT(kFeatureEventIdx);
  CONSTANT(kFeatureVersion1);
  CONSTANT(kFeatureInOrder);
  CONSTANT(kFeatureRingReset);
  CONSTANT(kFeatureNotfCoal);
  CONSTANT(kStatusAcknowledge);
  CONSTANT(kStatusDriver);
  CONSTANT(kStatusDriverOk);
  CONSTANT(kStatusFeaturesOk);
  CONSTANT(kStatusNeedsReset);
  CONSTANT(kStatusFailed);
  CONSTANT(kCtrlOk);
  CONSTANT(kCtrlErr);
  CONSTANT(kCtrlRx);
  CONSTANT(kCtrlRxPromisc);
  CONSTANT(kCtrlRxAllmulti);
  CONSTANT(kCtrlRxAlluni);
  CONSTANT(kCtrlRxNomulti);
  CONSTANT(kCtrlRxNouni);
  CONSTANT(kCtrlRxNobcast);
  CONSTANT(kCtrlMac);
  CONSTANT(kCtrlMacTableSet);
  CONSTANT(kCtrlMacAddrSet);
  CONSTANT(kCtrlMq);
  CONSTANT(kCtrlMqVqPairsSet);
  CONSTANT(kCtrlGuestOffloads);
  CONSTANT(kCtrlGuestOffloadsSet);
  CONSTANT(kCtrlNotfCoal);
  CONSTANT(kCtrlNotfCoalTxSet);
  CONSTANT(kCtrlNotfCoalRxSet);
  SIZE(VirtioNetCtrlCoal);
  FIELD(VirtioNetCtrlCoal, max_packets);
  FIELD(VirtioNetCtrlCoal, max_usecs);
  CONSTANT(kRegMagicValue);
  CONSTANT(kRegVersion);
  CONSTANT(kRegDeviceId);
  CONSTANT(kRegVendorId);
  CONSTANT(kRegDeviceFeatures);
  CONSTANT(kRegDeviceFeaturesSel);
  CONSTANT(kRegDriverFeatures);
  CONSTANT(kRegDriverFeaturesSel);
  CONSTANT(kRegQueueSel);
  CONSTANT(kRegQueueSizeMax);
  CONSTANT(kRegQueueSize);
  CONSTANT(kRegQueueReady);
  CONSTANT(kRegQueueNotify);
  CONSTANT(kRegStatus);
  CONSTANT(kRegQueueDescLow);
  CONSTANT(kRegQueueDescHigh);
  CONSTANT(kRegQueueDriverLow);
  CONSTANT(kRegQueueDriverHigh);
  CONSTANT(kRegQueueDeviceLow);
  CONSTANT(kRegQueueDeviceHigh);
  CONSTANT(kRegQueueReset);
  CONSTANT(kRegConfigGeneration);
  CONSTANT(kRegConfig);
  CONSTANT(kMagicValue);
  CONSTANT(kDeviceIdNet);
  CONSTANT(kVendorId);
  CONSTANT(kVectors);
  CONSTANT(kVectorConfig);
  CONSTANT(kMaxQueuePairs);
  SIZE(InterruptPage);
  FIELD(InterruptPage, signalled);
  FIELD(InterruptPage, broken_queues);
  FIELD(InterruptPage, pending);
  SIZE(Flow);
  FIELD(Flow, family);
  FIELD(Flow, protocol);
  FIELD(Flow, source_port);
  FIELD(Flow, destination_port);
  FIELD(Flow, source);
  FIELD(Flow, destination);
#undef FIELD
#undef SIZE
#undef CONSTANT
  return o;
}

}  // namespace ringcube
