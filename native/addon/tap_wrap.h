#pragma once

#include "addon/wrap.h"
#include "core/tap.h"

namespace ringcube {

class TapWrap final : public Wrap<TapWrap> {
 public:
  static Napi::Function define(Napi::Env env);
  explicit TapWrap(const Napi::CallbackInfo& info);
  ~TapWrap() override { shut(); }
  const std::shared_ptr<TapDevice>& tap() const { return tap_; }

 private:
  Napi::Value counters(const Napi::CallbackInfo& info);
  void close(const Napi::CallbackInfo&) { shut(); }
  void shut();

  std::shared_ptr<Engine> engine_;
  std::shared_ptr<TapDevice> tap_;
  bool open_ = false;
};

}  // namespace ringcube
