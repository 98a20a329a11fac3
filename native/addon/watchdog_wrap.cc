#include "addon/watchdog_wrap.h"

#include "addon/sandbox_wrap.h"

namespace ringcube {

Napi::Function WatchdogWrap::define(Napi::Env env) {
  return DefineClass(
      env, "Watchdog",
      {InstanceAccessor<&WatchdogWrap::control>("control"), InstanceMethod<&WatchdogWrap::add>("add"),
       InstanceMethod<&WatchdogWrap::rearm>("rearm"), InstanceMethod<&WatchdogWrap::remove>("remove"),
       InstanceMethod<&WatchdogWrap::wake>("wake"), InstanceMethod<&WatchdogWrap::close>("close")});
}

WatchdogWrap::WatchdogWrap(const Napi::CallbackInfo& info) : Wrap(info) {
  if (!alive(info.Env())) return;
  std::string error;
  watchdog_ = Watchdog::create(error);
  if (watchdog_ == nullptr) fail(info, error);
}

// A new ArrayBuffer each time, over the same page.
Napi::Value WatchdogWrap::control(const Napi::CallbackInfo& info) {
  auto held = std::make_unique<std::shared_ptr<Watchdog>>(watchdog_);
  auto buffer = Napi::ArrayBuffer::New(
      info.Env(), watchdog_->control(), Watchdog::control_bytes(),
      [](Napi::Env, void*, std::shared_ptr<Watchdog>* given) {
        delete given;
      },  // NOLINT(cppcoreguidelines-owning-memory)
      held.get());
  if (!buffer.IsEmpty()) std::ignore = held.release();  // the finalizer's now
  return buffer;
}

// add(sandbox, epoch: boolean, budgetUs): the slot
Napi::Value WatchdogWrap::add(const Napi::CallbackInfo& info) {
  auto* const sandbox = unwrap<SandboxWrap>(info.Env(), info[0]);
  if (sandbox == nullptr) return info.Env().Undefined();
  const auto how = info[1].ToBoolean() ? Sandbox::Stop::kEpoch : Sandbox::Stop::kGuard;
  std::string error;
  const uint32_t slot =
      watchdog_->add(sandbox->sandbox(), how, info[2].As<Napi::Number>().Uint32Value(), error);
  if (slot == 0) fail(info, error);
  return Napi::Number::New(info.Env(), slot);
}

void WatchdogWrap::rearm(const Napi::CallbackInfo& info) {
  watchdog_->rearm(info[0].As<Napi::Number>().Uint32Value());
}

void WatchdogWrap::remove(const Napi::CallbackInfo& info) {
  watchdog_->remove(info[0].As<Napi::Number>().Uint32Value());
}

void WatchdogWrap::wake(const Napi::CallbackInfo& info) {
  std::string error;
  if (!watchdog_->wake(error)) fail(info, error);
}

void WatchdogWrap::shut() {
  if (watchdog_ != nullptr) watchdog_->close();
}

}  // namespace ringcube
