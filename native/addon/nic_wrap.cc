#include "addon/nic_wrap.h"

#include <cstring>

#include "addon/engine_wrap.h"
#include "addon/region_wrap.h"

namespace ringcube {

Napi::Function NicWrap::define(Napi::Env env) {
  return DefineClass(
      env, "Nic",
      {InstanceMethod<&NicWrap::read>("read"), InstanceMethod<&NicWrap::write>("write"),
       InstanceMethod<&NicWrap::kick>("kick"), InstanceMethod<&NicWrap::map>("map"),
       InstanceMethod<&NicWrap::unmap>("unmap"), InstanceMethod<&NicWrap::steer>("steer"),
       InstanceMethod<&NicWrap::share>("share"), InstanceMethod<&NicWrap::counters>("counters"),
       InstanceMethod<&NicWrap::watch>("watch"), InstanceMethod<&NicWrap::ref>("ref"),
       InstanceMethod<&NicWrap::close>("close"), InstanceAccessor<&NicWrap::connections>("connections"),
       InstanceAccessor<&NicWrap::page>("interruptPage")});
}

// new Nic(engine, {mac: Uint8Array(6), queuePairs, queueSizeMax, mtu, features: [low, high]})
NicWrap::NicWrap(const Napi::CallbackInfo& info) : Wrap(info) {
  auto* const engine = unwrap<EngineWrap>(info.Env(), info[0]);
  const auto given = info[1].As<Napi::Object>();
  const auto mac = given.Get("mac").As<Napi::Uint8Array>();
  const auto features = given.Get("features").As<Napi::Uint32Array>();
  NicOptions options;
  options.queue_pairs = static_cast<uint16_t>(number(given, "queuePairs", 1));
  options.queue_size_max = static_cast<uint16_t>(number(given, "queueSizeMax", 1024));
  options.mtu = static_cast<uint16_t>(number(given, "mtu", 1500));
  if (!alive(info.Env())) return;
  engine_ = engine->engine();
  std::memcpy(options.mac.data(), mac.Data(), options.mac.size());
  options.features = features.Data()[0] | uint64_t{features.Data()[1]} << 32;
  std::string error;
  nic_ = Nic::create(options, error);
  if (nic_ == nullptr) {
    fail(info, error);
    return;
  }
  const Engine::Guard guard(*engine_);
  engine_->add(nic_);
  open_ = true;
}

void NicWrap::shut() {
  interrupt_.reset();
  if (!open_) return;
  open_ = false;
  const Engine::Guard guard(*engine_);
  if (share_ != nullptr) share_->close();
  nic_->set_monitor(nullptr);
  nic_->reset();
  engine_->remove(*nic_);
}

bool NicWrap::open(const Napi::CallbackInfo& info) {
  if (!open_) fail(info, "this NIC is closed");
  return open_;
}

Napi::Value NicWrap::read(const Napi::CallbackInfo& info) {
  if (!open(info)) return info.Env().Undefined();
  const Engine::Guard guard(*engine_);
  return Napi::Number::New(info.Env(), nic_->read(info[0].As<Napi::Number>().Uint32Value()));
}

void NicWrap::write(const Napi::CallbackInfo& info) {
  const uint32_t offset = info[0].As<Napi::Number>().Uint32Value();
  const uint32_t value = info[1].As<Napi::Number>().Uint32Value();
  if (!open_ && offset == kRegStatus && value == 0) return;  // closing has reset it
  if (!open(info)) return;
  const Engine::Guard guard(*engine_);
  nic_->write(offset, value);
}

void NicWrap::kick(const Napi::CallbackInfo& info) {
  if (open_) nic_->kick(static_cast<uint16_t>(info[0].As<Napi::Number>().Uint32Value()));
}

// map(queue or -1, region, iova, offset, length, access): false if the table has no place for it.
Napi::Value NicWrap::map(const Napi::CallbackInfo& info) {
  auto* const wrap = unwrap<RegionWrap>(info.Env(), info[1]);
  if (!open(info) || wrap == nullptr) return info.Env().Undefined();
  const auto& region = wrap->region();
  const auto at = [&](size_t i) { return static_cast<uint64_t>(info[i].As<Napi::Number>().DoubleValue()); };
  bool mapped = false;
  if (at(3) <= region->size() && at(4) <= region->size() - at(3)) {
    const Engine::Guard guard(*engine_);
    mapped = nic_->map(info[0].As<Napi::Number>().Int32Value(), {.iova = at(2),
                                                                 .length = at(4),
                                                                 .data = region->data() + at(3),
                                                                 .access = static_cast<Access>(at(5)),
                                                                 .region = region});
  }
  return Napi::Boolean::New(info.Env(), mapped);
}

Napi::Value NicWrap::unmap(const Napi::CallbackInfo& info) {
  if (!open(info)) return info.Env().Undefined();
  const Engine::Guard guard(*engine_);
  return Napi::Boolean::New(info.Env(),
                            nic_->unmap(info[0].As<Napi::Number>().Int32Value(),
                                        static_cast<uint64_t>(info[1].As<Napi::Number>().DoubleValue())));
}

// steer(rule: Uint8Array(40) laid out as Flow, pair or -1 to remove)
Napi::Value NicWrap::steer(const Napi::CallbackInfo& info) {
  if (!open(info)) return info.Env().Undefined();
  Flow rule;
  std::memcpy(static_cast<void*>(&rule), info[0].As<Napi::Uint8Array>().Data(), sizeof rule);
  const int32_t pair = info[1].As<Napi::Number>().Int32Value();
  const Engine::Guard guard(*engine_);
  return Napi::Boolean::New(info.Env(),
                            pair < 0 ? nic_->unsteer(rule) : nic_->steer(rule, static_cast<uint16_t>(pair)));
}

// share(path, region): listens there for the worker or process that will drive this NIC.
void NicWrap::share(const Napi::CallbackInfo& info) {
  auto* const region = unwrap<RegionWrap>(info.Env(), info[1]);
  if (!open(info) || region == nullptr) return;
  if (share_ != nullptr) return fail(info, "this NIC is shared already");
  std::string error;
  const Engine::Guard guard(*engine_);
  share_ = Share::create(engine_, nic_, region->region(), info[0].As<Napi::String>().Utf8Value(), error);
  if (share_ == nullptr) fail(info, error);
}

Napi::Value NicWrap::connections(const Napi::CallbackInfo& info) {
  const Engine::Guard guard(*engine_);
  return Napi::Number::New(info.Env(), share_ == nullptr ? 0 : static_cast<double>(share_->connections()));
}

Napi::Value NicWrap::counters(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const auto set = [&](Napi::Object& to, const char* name, uint64_t value) {
    to.Set(name, Napi::Number::New(env, static_cast<double>(value)));
  };
  auto result = Napi::Object::New(env);
  auto queues = Napi::Array::New(env, nic_->queues());
  const Engine::Guard guard(*engine_);
  for (uint16_t i = 0; i < nic_->queues(); ++i) {
    const QueueCounters c = nic_->counters(i);
    auto q = Napi::Object::New(env);
    set(q, "frames", c.frames);
    set(q, "bytes", c.bytes);
    set(q, "dmaBytes", c.dma_bytes);
    set(q, "kicks", c.kicks);
    set(q, "interrupts", c.interrupts);
    set(q, "interruptsSuppressed", c.interrupts_suppressed);
    set(q, "dropNoBuffer", c.drop_no_buffer);
    set(q, "dropTooLong", c.drop_too_long);
    set(q, "dropBadHeader", c.drop_bad_header);
    set(q, "dropNoCarrier", c.drop_no_carrier);
    set(q, "faults", c.faults);
    q.Set("fault", fault_name(nic_->fault(i)));
    queues.Set(i, q);
  }
  result.Set("queues", queues);
  set(result, "dropFiltered", nic_->nic_counters().drop_filtered);
  set(result, "dropNotReady", nic_->nic_counters().drop_not_ready);
  set(result, "steered", nic_->nic_counters().steered);
  return result;
}

Napi::Value NicWrap::page(const Napi::CallbackInfo& info) {
  return buffer_over(info.Env(), nic_->interrupt_page());
}

void NicWrap::watch(const Napi::CallbackInfo& info) {
  interrupt_.reset();
  if (open(info))
    interrupt_ = Interrupt::watch(info.Env(), nic_->interrupt_fd(), info[0].As<Napi::Function>());
}

void NicWrap::ref(const Napi::CallbackInfo& info) {
  if (interrupt_ != nullptr) interrupt_->ref(info[0].ToBoolean());
}

}  // namespace ringcube
