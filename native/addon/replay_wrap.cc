#include "addon/replay_wrap.h"

#include <algorithm>

#include "addon/engine_wrap.h"

namespace ringcube {

Napi::Function ReplayWrap::define(Napi::Env env) {
  return DefineClass(
      env, "Replay",
      {InstanceMethod<&ReplayWrap::start>("start"), InstanceMethod<&ReplayWrap::stop>("stop"),
       InstanceMethod<&ReplayWrap::counters>("counters"), InstanceMethod<&ReplayWrap::latencies>("latencies"),
       InstanceMethod<&ReplayWrap::close>("close")});
}

// new Replay(engine, path | {bytes: Uint8Array, lengths: Uint32Array, timesNs: Float64Array}, options)
ReplayWrap::ReplayWrap(const Napi::CallbackInfo& info) : Wrap(info) {
  auto* const engine = unwrap<EngineWrap>(info.Env(), info[0]);
  const auto given = info[2].As<Napi::Object>();
  const std::string timing = word(given, "timing");
  const std::string stamp = word(given, "stamp");
  const ReplayOptions options = {.timing = timing == "fastest" ? ReplayOptions::Timing::kFastest
                                           : timing == "rate"  ? ReplayOptions::Timing::kRate
                                                               : ReplayOptions::Timing::kOriginal,
                                 .speed = number(given, "speed", 1),
                                 .frames_per_second = number(given, "framesPerSecond", 0),
                                 .limit = static_cast<uint64_t>(number(given, "limit", 0)),
                                 .stamp = stamp == "due"    ? ReplayOptions::Stamp::kDue
                                          : stamp == "sent" ? ReplayOptions::Stamp::kSent
                                                            : ReplayOptions::Stamp::kNone,
                                 .latencies = static_cast<uint32_t>(number(given, "latencies", 0))};
  const bool recorded = info[1].IsString();
  Napi::Uint8Array bytes;
  Napi::Uint32Array lengths;
  Napi::Float64Array times;
  if (!recorded) {
    const auto frames = info[1].As<Napi::Object>();
    bytes = frames.Get("bytes").As<Napi::Uint8Array>();
    lengths = frames.Get("lengths").As<Napi::Uint32Array>();
    times = frames.Get("timesNs").As<Napi::Float64Array>();
  }
  if (!alive(info.Env())) return;
  engine_ = engine->engine();
  std::string error;
  if (recorded) {
    replay_ = Replay::open(info[1].As<Napi::String>().Utf8Value(), options, cut_, error);
  } else {
    const auto* data = reinterpret_cast<const std::byte*>(bytes.Data());
    std::vector<TimeNs> times_ns(times.ElementLength());
    std::transform(times.Data(), times.Data() + times.ElementLength(), times_ns.begin(),
                   [](double t) { return static_cast<TimeNs>(t); });
    replay_ = Replay::create({data, data + bytes.ByteLength()},
                             {lengths.Data(), lengths.Data() + lengths.ElementLength()}, std::move(times_ns),
                             options, error);
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

void ReplayWrap::start(const Napi::CallbackInfo& info) {
  if (!open_) return fail(info, "this replay is closed");
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
  if (!copy.IsEmpty()) std::copy(kept.begin(), kept.end(), copy.Data());
  return copy;
}

}  // namespace ringcube
