#include "addon/recorder_wrap.h"

#include "addon/engine_wrap.h"
#include "addon/nic_wrap.h"

namespace ringcube {

Napi::Function RecorderWrap::define(Napi::Env env) {
  return DefineClass(
      env, "Recorder",
      {InstanceMethod<&RecorderWrap::add>("add"), InstanceMethod<&RecorderWrap::counters>("counters"),
       InstanceMethod<&RecorderWrap::close>("close")});
}

// new Recorder(engine, path)
RecorderWrap::RecorderWrap(const Napi::CallbackInfo& info) : Wrap(info) {
  auto* const engine = unwrap<EngineWrap>(info.Env(), info[0]);
  if (!alive(info.Env())) return;
  engine_ = engine->engine();
  const std::string path = info[1].As<Napi::String>().Utf8Value();
  std::string error;
  recorder_ = Recorder::create(path, engine_->epoch_offset(), error);
  if (recorder_ == nullptr)
    fail(info, error);
  else
    open_ = true;
}

void RecorderWrap::add(const Napi::CallbackInfo& info) {
  const auto* nic = unwrap<NicWrap>(info.Env(), info[0]);
  if (nic == nullptr) return;
  if (!open_) return fail(info, "this recorder is closed");
  const Engine::Guard guard(*engine_);
  recorder_->add(*nic->nic(), info[1].As<Napi::String>().Utf8Value());
  nics_.push_back(nic->nic());
  info[0].As<Napi::Object>().Set("recorder", info.This());  // who holds the NIC holds its recorder
}

void RecorderWrap::shut() {
  if (!open_) return;
  open_ = false;
  const Engine::Guard guard(*engine_);
  for (const auto& nic : nics_) nic->set_monitor(nullptr);
  nics_.clear();
  recorder_->flush();
}

Napi::Value RecorderWrap::counters(const Napi::CallbackInfo& info) {
  auto o = Napi::Object::New(info.Env());
  const Engine::Guard guard(*engine_);
  recorder_->flush();
  o.Set("written", Napi::Number::New(info.Env(), static_cast<double>(recorder_->written())));
  o.Set("lost", Napi::Number::New(info.Env(), static_cast<double>(recorder_->lost())));
  return o;
}

}  // namespace ringcube
