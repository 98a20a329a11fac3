// What the benches measure against, for JavaScript: native/bench and a call that does nothing.
#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <ctime>

#include "addon/engine_wrap.h"
#include "addon/nic_wrap.h"
#include "addon/region_wrap.h"
#include "addon/wrap.h"
#include "bench/eventfd_latency.h"
#include "bench/ring_forward.h"
#include "bench/signals.h"
#include "bench/udp_forward.h"
#include "bench/udp_load.h"

namespace ringcube {

namespace {

double now_ns() {
  timespec t = {};
  clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<double>(t.tv_sec) * 1e9 + static_cast<double>(t.tv_nsec);
}

class RingForwardWrap final : public Wrap<RingForwardWrap> {
 public:
  static Napi::Function define(Napi::Env env) {
    return DefineClass(env, "RingForward",
                       {InstanceMethod<&RingForwardWrap::run>("run"),
                        InstanceMethod<&RingForwardWrap::prefilled>("prefilled")});
  }

  // new RingForward(nic, region, setup)
  explicit RingForwardWrap(const Napi::CallbackInfo& info)
      : Wrap(info),
        nic_(NicWrap::Unwrap(info[0].As<Napi::Object>())->nic()),
        engine_(NicWrap::Unwrap(info[0].As<Napi::Object>())->engine()),
        region_(RegionWrap::Unwrap(info[1].As<Napi::Object>())->region()),
        forward_(setup(region_, info[2].As<Napi::Object>())) {}

 private:
  static RingForwardSetup setup(const std::shared_ptr<Region>& region, const Napi::Object& o) {
    const auto u32 = [&](const char* name) { return static_cast<uint32_t>(number(o, name, 0)); };
    return {.base = region->data(),
            .rx_desc = u32("rxDesc"),
            .rx_avail = u32("rxAvail"),
            .rx_used = u32("rxUsed"),
            .tx_desc = u32("txDesc"),
            .tx_avail = u32("txAvail"),
            .tx_used = u32("txUsed"),
            .size = u32("size"),
            .buffers = u32("buffers"),
            .buffer_stride = u32("bufferStride"),
            .buffer_bytes = u32("bufferBytes"),
            .buffer_count = u32("bufferCount")};
  }

  void ring_doorbells(uint32_t kick) {
    if ((kick & 1) != 0) nic_->kick(0);
    if ((kick & 2) != 0) nic_->kick(1);
  }

  // run(frames, batch, timeoutNs): forwards until that many; returns how many it did.
  Napi::Value run(const Napi::CallbackInfo& info) {
    const double frames = info[0].As<Napi::Number>().DoubleValue();
    const uint32_t batch = info[1].As<Napi::Number>().Uint32Value();
    const double deadline = now_ns() + info[2].As<Napi::Number>().DoubleValue();
    double done = 0;
    for (uint32_t turns = 0; done < frames; ++turns) {
      uint32_t kick = 0;
      done += forward_.turn(batch, kick);
      ring_doorbells(kick);
      if (turns % 4096 == 4095 && now_ns() > deadline) break;
    }
    return Napi::Number::New(info.Env(), done);
  }

  // prefilled(rounds, batch): the driver alone. The stepped engine fills the ring, unmeasured; the ns that
  // emptying it took are added up: [frames, ns].
  Napi::Value prefilled(const Napi::CallbackInfo& info) {
    const uint32_t rounds = info[0].As<Napi::Number>().Uint32Value();
    const uint32_t batch = info[1].As<Napi::Number>().Uint32Value();
    double frames = 0;
    double ns = 0;
    uint32_t kick = 0;
    forward_.turn(0, kick);
    for (uint32_t i = 0; i < rounds; ++i) {
      {
        const Engine::Guard guard(*engine_);
        engine_->step(0);
      }
      const double before = now_ns();
      while (const uint32_t n = forward_.turn(batch, kick)) frames += n;
      ns += now_ns() - before;
    }
    auto result = Napi::Array::New(info.Env(), 2);
    result.Set(0U, Napi::Number::New(info.Env(), frames));
    result.Set(1U, Napi::Number::New(info.Env(), ns));
    return result;
  }

  std::shared_ptr<Nic> nic_;
  std::shared_ptr<Engine> engine_;
  std::shared_ptr<Region> region_;
  RingForward forward_;
};

class UdpLoadWrap final : public Wrap<UdpLoadWrap> {
 public:
  static Napi::Function define(Napi::Env env) {
    return DefineClass(
        env, "UdpLoad",
        {InstanceMethod<&UdpLoadWrap::stop>("stop"), InstanceMethod<&UdpLoadWrap::latencies>("latencies"),
         InstanceAccessor<&UdpLoadWrap::returned>("returned"), InstanceAccessor<&UdpLoadWrap::sent>("sent")});
  }

  // new UdpLoad({toPort, payloadBytes, batch, toHost, window, cpu, segmentation, rate, limit})
  explicit UdpLoadWrap(const Napi::CallbackInfo& info) : Wrap(info) {
    const auto o = info[0].As<Napi::Object>();
    std::string error;
    load_ = UdpLoad::start({.to_port = static_cast<uint16_t>(number(o, "toPort", 0)),
                            .payload_bytes = static_cast<uint32_t>(number(o, "payloadBytes", 22)),
                            .batch = static_cast<uint32_t>(number(o, "batch", 64)),
                            .to_host = static_cast<uint32_t>(number(o, "toHost", 0x7f000001)),
                            .window = static_cast<uint32_t>(number(o, "window", 128)),
                            .cpu = static_cast<int>(number(o, "cpu", -1)),
                            .segmentation = flag(o, "segmentation"),
                            .rate = number(o, "rate", 0),
                            .limit = static_cast<uint32_t>(number(o, "limit", 1))},
                           error);
    if (load_ == nullptr) fail(info, error);
  }

 private:
  void stop(const Napi::CallbackInfo&) { load_->stop(); }
  Napi::Value returned(const Napi::CallbackInfo& info) {
    return Napi::Number::New(info.Env(), static_cast<double>(load_->returned()));
  }

  Napi::Value sent(const Napi::CallbackInfo& info) {
    return Napi::Number::New(info.Env(), static_cast<double>(load_->sent()));
  }

  // latencies(): ends the load; ns, a copy.
  Napi::Value latencies(const Napi::CallbackInfo& info) {
    load_->stop();
    const auto& from = load_->latencies();
    auto out = Napi::Float64Array::New(info.Env(), from.size());
    std::copy(from.begin(), from.end(), out.Data());
    return out;
  }

  std::unique_ptr<UdpLoad> load_;
};

class UdpForwarderWrap final : public Wrap<UdpForwarderWrap> {
 public:
  static Napi::Function define(Napi::Env env) {
    return DefineClass(
        env, "UdpForwarder",
        {InstanceMethod<&UdpForwarderWrap::run>("run"), InstanceAccessor<&UdpForwarderWrap::port>("port")});
  }

  // new UdpForwarder(maxPayloadBytes, batch, segmentation, answers, host?, touches?)
  explicit UdpForwarderWrap(const Napi::CallbackInfo& info) : Wrap(info) {
    std::string error;
    const uint32_t host = info[4].IsNumber() ? info[4].As<Napi::Number>().Uint32Value() : 0x7f000001;
    forwarder_ =
        UdpForwarder::open(info[0].As<Napi::Number>().Uint32Value(), info[1].As<Napi::Number>().Uint32Value(),
                           info[2].ToBoolean(), info[3].ToBoolean(), host, info[5].ToBoolean(), error);
    if (forwarder_ == nullptr) fail(info, error);
  }

 private:
  Napi::Value port(const Napi::CallbackInfo& info) {
    return Napi::Number::New(info.Env(), forwarder_->port());
  }

  // run(timeoutNs): [datagrams, ns]
  Napi::Value run(const Napi::CallbackInfo& info) {
    UdpForwarded out;
    std::string error;
    if (!forwarder_->run(~uint64_t{0}, static_cast<int64_t>(info[0].As<Napi::Number>().DoubleValue()), out,
                         error))
      fail(info, error);
    auto result = Napi::Array::New(info.Env(), 2);
    result.Set(0U, Napi::Number::New(info.Env(), static_cast<double>(out.frames)));
    result.Set(1U, Napi::Number::New(info.Env(), static_cast<double>(out.nanoseconds)));
    return result;
  }

  std::unique_ptr<UdpForwarder> forwarder_;
};

// eventfdWakeup(out: Float64Array of ns, pauseNs, writerCpu, sleeperCpu)
void eventfd_wakeup_into(const Napi::CallbackInfo& info) {
  auto out = info[0].As<Napi::Float64Array>();
  std::string error;
  if (!eventfd_wakeup({.rounds = static_cast<uint32_t>(out.ElementLength()),
                       .pause_ns = static_cast<int64_t>(info[1].As<Napi::Number>().DoubleValue()),
                       .writer_cpu = info[2].As<Napi::Number>().Int32Value(),
                       .sleeper_cpu = info[3].As<Napi::Number>().Int32Value()},
                      std::span<double>(out.Data(), out.ElementLength()), error))
    Napi::Error::New(info.Env(), error).ThrowAsJavaScriptException();
}

// What an upcall is compared with: signalSelf(out), signalPeer(out, cpu), pipePeer(out, cpu),
// protectionFlip(out, pages), where `out` is a Float64Array of ns, a round each.
template <typename Measure>
void rounds_into(const Napi::CallbackInfo& info, const Measure& measure) {
  auto out = info[0].As<Napi::Float64Array>();
  std::string error;
  if (!measure(std::span<double>(out.Data(), out.ElementLength()), error))
    Napi::Error::New(info.Env(), error).ThrowAsJavaScriptException();
}

void signal_self_into(const Napi::CallbackInfo& info) { rounds_into(info, signal_self); }

void signal_peer_into(const Napi::CallbackInfo& info) {
  const int cpu = info[1].As<Napi::Number>().Int32Value();
  rounds_into(info, [cpu](std::span<double> out, std::string& e) { return signal_peer(out, cpu, e); });
}

void pipe_peer_into(const Napi::CallbackInfo& info) {
  const int cpu = info[1].As<Napi::Number>().Int32Value();
  rounds_into(info, [cpu](std::span<double> out, std::string& e) { return pipe_peer(out, cpu, e); });
}

void protection_flip_into(const Napi::CallbackInfo& info) {
  const uint32_t pages = info[1].As<Napi::Number>().Uint32Value();
  rounds_into(info,
              [pages](std::span<double> out, std::string& e) { return protection_flip(out, pages, e); });
}

// pin(cpu): this thread, -1 for anywhere. False if it may not.
Napi::Value pin(const Napi::CallbackInfo& info) {
  const int cpu = info[0].As<Napi::Number>().Int32Value();
  cpu_set_t set;
  CPU_ZERO(&set);
  for (int i = 0; i < CPU_SETSIZE; ++i)
    if (cpu < 0 || i == cpu) CPU_SET(i, &set);
  return Napi::Boolean::New(info.Env(), pthread_setaffinity_np(pthread_self(), sizeof set, &set) == 0);
}

// threadNs(): CPU time of this thread: what others do on its core is not in it.
Napi::Value thread_ns(const Napi::CallbackInfo& info) {
  timespec t;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return Napi::Number::New(info.Env(), static_cast<double>(t.tv_sec) * 1e9 + static_cast<double>(t.tv_nsec));
}

Napi::Value nothing(const Napi::CallbackInfo& info) { return info.Env().Undefined(); }

}  // namespace

void init_bench(Napi::Env env, Napi::Object exports) {
  auto bench = Napi::Object::New(env);
  bench.Set("RingForward", RingForwardWrap::define(env));
  bench.Set("UdpLoad", UdpLoadWrap::define(env));
  bench.Set("UdpForwarder", UdpForwarderWrap::define(env));
  bench.Set("eventfdWakeup", Napi::Function::New(env, eventfd_wakeup_into));
  bench.Set("signalSelf", Napi::Function::New(env, signal_self_into));
  bench.Set("signalPeer", Napi::Function::New(env, signal_peer_into));
  bench.Set("pipePeer", Napi::Function::New(env, pipe_peer_into));
  bench.Set("protectionFlip", Napi::Function::New(env, protection_flip_into));
  bench.Set("pin", Napi::Function::New(env, pin));
  bench.Set("threadNs", Napi::Function::New(env, thread_ns));
  bench.Set("nothing", Napi::Function::New(env, nothing));
  exports.Set("bench", bench);
}

}  // namespace ringcube
