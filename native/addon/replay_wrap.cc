#include "addon/replay_wrap.h"

#include <algorithm>

#include "addon/engine_wrap.h"

namespace ringcube {

Napi::Function ReplayWrap::define(Napi::Env env) {
  return DefineClass(env, "Replay",
                     {InstanceMethod<&ReplayWrap::start>("start"), InstanceMethod<&ReplayWrap::stop>("stop"),
                      InstanceMethod<&ReplayWrap::counters>("counters"),
                      InstanceMethod<&ReplayWrap::latencies>("latencies"),
                      InstanceMethod<&ReplayWrap::close>("close")});
}

// new Replay(engine, path | {bytes: Uint8Array, lengths: Uint32Array, timesNs: Float64Array}, options)
ReplayWrap::ReplayWrap(const Napi::CallbackInfo& info) : Wrap(info) {
  engine_ = EngineWrap::Unwrap(info[0].As<Napi::Object>())->engine();
  const auto given = info[2].As<Napi::Object>();
  const std::string timing = given.Get("timing").As<Napi::String>().Utf8Value();
  const ReplayOptions options = {.timing = timing == "fastest" ? ReplayOptions::Timing::kFastest
                                           : timing == "rate"  ? ReplayOptions::Timing::kRate
                                                               : ReplayOptions::Timing::kOriginal,
                                 .speed = number(given, "speed", 1),
                                 .frames_per_second = number(given, "framesPerSecond", 0),
                                 .limit = static_cast<uint64_t>(number(given, "limit", 0)),
                                 .stamp = flag(given, "stamp"),
                                 .latencies = static_cast<uint32_t>(number(given, "latencies", 0))};
  std::string error;
  if (info[1].IsString()) {
    replay_ = Replay::open(info[1].As<Napi::String>().Utf8Value(), options, cut_, error);
  } else {
    const auto frames = info[1].As<Napi::Object>();
    const auto bytes = frames.Get("bytes").As<Napi::Uint8Array>();
    const auto lengths = frames.Get("lengths").As<Napi::Uint32Array>();
    const auto times = frames.Get("timesNs").As<Napi::Float64Array>();
    const auto* data = reinterpret_cast<const std::byte*>(bytes.Data());
    std::vector<TimeNs> times_ns(times.ElementLength());
    std::transform(times.Data(), times.Data() + times.ElementLength(), times_ns.begin(),
                   [](double t) { return static_cast<TimeNs>(t); });
    replay_ = Replay::create({data, data + bytes.ByteLength()},
                             {lengths.Data(), lengths.Data() + lengths.ElementLength()}, std::move(times_ns), options,
                             error);
  }
  if (replay_ == nullptr) {
    fail(info, error);
    return;
  }
  const Engine::Guard guard(*engine_);
  engine_->add(replay_);
  open_ = true;
}

void ReplayWrap::shut() {
  if (!open_) return;
  open_ = false;
  const Engine::Guard guard(*engine_);
  replay_->stop();
  engine_->remove(*replay_);
}

void ReplayWrap::start(const Napi::CallbackInfo&) {
  if (!open_) return;
  const Engine::Guard guard(*engine_);
  replay_->start();
}

void ReplayWrap::stop(const Napi::CallbackInfo&) {
  const Engine::Guard guard(*engine_);
  replay_->stop();
}

Napi::Value ReplayWrap::counters(const Napi::CallbackInfo& info) {
  auto o = Napi::Object::New(info.Env());
  const auto set = [&](const char* name, uint64_t value) {
    o.Set(name, Napi::Number::New(info.Env(), static_cast<double>(value)));
  };
  const Engine::Guard guard(*engine_);
  set("frames", replay_->frames());
  set("cut", cut_);
  set("sent", replay_->sent());
  set("refused", replay_->refused());
  set("returned", replay_->returned());
  set("returnedBytes", replay_->returned_bytes());
  set("latenciesLost", replay_->latencies_lost());
  o.Set("done", Napi::Boolean::New(info.Env(), replay_->done()));
  return o;
}

// A copy: Float64Array, ns, in order of return.
Napi::Value ReplayWrap::latencies(const Napi::CallbackInfo& info) {
  const Engine::Guard guard(*engine_);
  const auto kept = replay_->latencies();
  auto copy = Napi::Float64Array::New(info.Env(), kept.size());
  std::copy(kept.begin(), kept.end(), copy.Data());
  return copy;
}

}  // namespace ringcube
