#pragma once

#include "addon/wrap.h"

namespace ringcube {

class EngineWrap final : public Wrap<EngineWrap> {
 public:
  static Napi::Function define(Napi::Env env);
  explicit EngineWrap(const Napi::CallbackInfo& info);
  const std::shared_ptr<Engine>& engine() const { return engine_; }

 private:
  Napi::Value step(const Napi::CallbackInfo& info);
  Napi::Value now(const Napi::CallbackInfo& info);
  Napi::Value sleeps(const Napi::CallbackInfo& info);

  std::shared_ptr<Engine> engine_;
};

}  // namespace ringcube
