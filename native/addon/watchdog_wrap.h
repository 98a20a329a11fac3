#pragma once

#include "addon/wrap.h"
#include "core/watchdog.h"

namespace ringcube {

// One for each environment (the main thread, a worker) that wants one: the control page is an ArrayBuffer,
// which can't be of two environments, and ends with its own.
class WatchdogWrap final : public Wrap<WatchdogWrap> {
 public:
  static Napi::Function define(Napi::Env env);
  explicit WatchdogWrap(const Napi::CallbackInfo& info);
  ~WatchdogWrap() override { shut(); }

 private:
  Napi::Value control(const Napi::CallbackInfo& info);
  Napi::Value add(const Napi::CallbackInfo& info);
  void rearm(const Napi::CallbackInfo& info);
  void remove(const Napi::CallbackInfo& info);
  void wake(const Napi::CallbackInfo& info);
  void close(const Napi::CallbackInfo&) { shut(); }
  void shut();

  std::shared_ptr<Watchdog> watchdog_;  // also the ArrayBuffer's
};

}  // namespace ringcube
