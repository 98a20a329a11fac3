// The addon's exports. src/nic/addon.ts declares them for TypeScript.
#include "addon/attachment_wrap.h"
#include "addon/engine_wrap.h"
#include "addon/link_wrap.h"
#include "addon/nic_wrap.h"
#include "addon/recorder_wrap.h"
#include "addon/region_wrap.h"
#include "addon/replay_wrap.h"
#include "addon/sandbox_wrap.h"
#include "addon/tap_wrap.h"
#include "addon/thread.h"
#include "addon/watchdog_wrap.h"

namespace {

Napi::Object init(Napi::Env env, Napi::Object exports) {
  exports.Set("Region", ringcube::RegionWrap::define(env));
  exports.Set("Engine", ringcube::EngineWrap::define(env));
  exports.Set("Nic", ringcube::NicWrap::define(env));
  exports.Set("Link", ringcube::LinkWrap::define(env));
  exports.Set("Replay", ringcube::ReplayWrap::define(env));
  exports.Set("Tap", ringcube::TapWrap::define(env));
  exports.Set("Recorder", ringcube::RecorderWrap::define(env));
  exports.Set("Attachment", ringcube::AttachmentWrap::define(env));
  exports.Set("Sandbox", ringcube::SandboxWrap::define(env));
  exports.Set("Watchdog", ringcube::WatchdogWrap::define(env));
  exports.Set("realtime", ringcube::define_realtime(env));
  exports.Set("layout", ringcube::init_layout(env));
  ringcube::init_bench(env, exports);
  return exports;
}

}  // namespace

NODE_API_MODULE(ringcube, init)
