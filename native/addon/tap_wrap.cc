#include "addon/tap_wrap.h"

#include <cerrno>
#include <cstring>

#include "addon/engine_wrap.h"

namespace ringcube {

Napi::Function TapWrap::define(Napi::Env env) {
  return DefineClass(
      env, "Tap", {InstanceMethod<&TapWrap::counters>("counters"), InstanceMethod<&TapWrap::close>("close")});
}

// new Tap(engine, {name, queues, netns?: path, mtu?, sendBufferBytes?, mac?: Uint8Array(6)})
TapWrap::TapWrap(const Napi::CallbackInfo& info) : Wrap(info) {
  auto* const engine = unwrap<EngineWrap>(info.Env(), info[0]);
  const auto given = info[1].As<Napi::Object>();
  const Napi::Value mac = given.Get("mac");
  TapOptions options = {.name = word(given, "name"),
                        .netns = word(given, "netns"),
                        .queues = static_cast<uint32_t>(number(given, "queues", 1)),
                        .mtu = static_cast<uint32_t>(number(given, "mtu", 0)),
                        .send_buffer_bytes = static_cast<uint32_t>(number(given, "sendBufferBytes", 0)),
                        .mac = std::nullopt};
  if (!alive(info.Env())) return;
  engine_ = engine->engine();
  if (mac.IsTypedArray())
    std::memcpy(options.mac.emplace().data(), mac.As<Napi::Uint8Array>().Data(), options.mac->size());
  std::string error;
  tap_ = TapDevice::create(options, error);
  if (tap_ == nullptr) {
    fail(info, error);
    return;
  }
  bool started = false;
  {
    const Engine::Guard guard(*engine_);
    engine_->add(tap_);
    open_ = true;
    started = tap_->start();
  }
  if (started) return;
  fail(info, "TAP " + options.name + ": watching it: " + std::strerror(errno));
  shut();
}

void TapWrap::shut() {
  if (!open_) return;
  open_ = false;
  std::unique_ptr<TapQueues> queues;  // ends behind the guard
  const Engine::Guard guard(*engine_);
  queues = tap_->stop();
  engine_->remove(*tap_);
}

Napi::Value TapWrap::counters(const Napi::CallbackInfo& info) {
  auto o = Napi::Object::New(info.Env());
  const auto set = [&](const char* name, uint64_t value) {
    o.Set(name, Napi::Number::New(info.Env(), static_cast<double>(value)));
  };
  const Engine::Guard guard(*engine_);
  const TapCounters& c = tap_->counters();
  set("fromKernel", c.from_kernel);
  set("toKernel", c.to_kernel);
  set("checksumsCompleted", c.checksums_completed);
  set("refused", c.refused);
  set("unreadable", c.unreadable);
  set("dropNoBuffer", c.drop_no_buffer);
  set("dropNoCarrier", c.drop_no_carrier);
  set("dropTooLong", c.drop_too_long);
  set("dropOther", c.drop_other);
  return o;
}

}  // namespace ringcube
