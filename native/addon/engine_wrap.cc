#include "addon/engine_wrap.h"

namespace ringcube {

Napi::Function EngineWrap::define(Napi::Env env) {
  return DefineClass(env, "Engine",
                     {InstanceMethod<&EngineWrap::step>("step"), InstanceMethod<&EngineWrap::now>("now"),
                      InstanceAccessor<&EngineWrap::sleeps>("sleeps")});
}

EngineWrap::EngineWrap(const Napi::CallbackInfo& info) : Wrap(info) {
  const auto given = info[0].As<Napi::Object>();
  const EngineOptions options = {.stepped = flag(given, "stepped"),
                                 .spin_ns = static_cast<TimeNs>(number(given, "spinUs", 50) * 1000),
                                 .cpu = static_cast<int>(number(given, "cpu", -1))};
  if (!alive(info.Env())) return;
  std::string error;
  engine_ = Engine::create(options, error);
  if (engine_ == nullptr) fail(info, error);
}

// step(untilNs): the next due time in ns, Infinity if none.
Napi::Value EngineWrap::step(const Napi::CallbackInfo& info) {
  const auto until = static_cast<TimeNs>(info[0].As<Napi::Number>().DoubleValue());
  TimeNs due = kNever;
  {
    const Engine::Guard guard(*engine_);
    due = engine_->step(until);
  }
  return Napi::Number::New(
      info.Env(), due == kNever ? std::numeric_limits<double>::infinity() : static_cast<double>(due));
}

Napi::Value EngineWrap::now(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), static_cast<double>(engine_->now()));
}

Napi::Value EngineWrap::sleeps(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), static_cast<double>(engine_->sleeps()));
}

}  // namespace ringcube
