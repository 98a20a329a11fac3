#include "addon/link_wrap.h"

#include "addon/engine_wrap.h"
#include "addon/nic_wrap.h"
#include "addon/replay_wrap.h"
#include "addon/tap_wrap.h"

namespace ringcube {

namespace {

WireOptions wire_options(const Napi::Object& o) {
  const auto ns = [&](const char* name) { return static_cast<TimeNs>(number(o, name, 0) * 1000); };
  return {.rate_bps = number(o, "rateBps", 0),
          .burst_bytes = static_cast<uint32_t>(number(o, "burstBytes", 0)),
          .delay_ns = ns("delayUs"),
          .jitter_ns = ns("jitterUs"),
          .loss = number(o, "loss", 0),
          .duplicate = number(o, "duplicate", 0),
          .corrupt = number(o, "corrupt", 0),
          .reorder = number(o, "reorder", 0),
          .reorder_ns = ns("reorderUs"),
          .queue_frames = static_cast<uint32_t>(number(o, "queueFrames", 1000)),
          .pause = flag(o, "pause")};
}

// Sides are told apart by a word of TypeScript's: 'nic', 'tap' or 'replay'.
std::shared_ptr<Endpoint> endpoint(Napi::Env env, const Napi::Object& side) {
  const Napi::Value native = side.Get("native");
  if (word(side, "kind") == "nic") {
    const auto* nic = unwrap<NicWrap>(env, native);
    return nic == nullptr ? nullptr : nic->nic();
  }
  if (word(side, "kind") == "tap") {
    const auto* tap = unwrap<TapWrap>(env, native);
    return tap == nullptr ? nullptr : tap->tap();
  }
  const auto* replay = unwrap<ReplayWrap>(env, native);
  return replay == nullptr ? nullptr : replay->replay();
}

}  // namespace

Napi::Function LinkWrap::define(Napi::Env env) {
  return DefineClass(
      env, "Link",
      {InstanceMethod<&LinkWrap::counters>("counters"), InstanceMethod<&LinkWrap::close>("close")});
}

// new Link(engine, {kind, native}, {kind, native}, wire a to b, wire b to a, seed)
LinkWrap::LinkWrap(const Napi::CallbackInfo& info) : Wrap(info) {
  auto* const engine = unwrap<EngineWrap>(info.Env(), info[0]);
  auto a = endpoint(info.Env(), info[1].As<Napi::Object>());
  auto b = endpoint(info.Env(), info[2].As<Napi::Object>());
  const WireOptions a_to_b = wire_options(info[3].As<Napi::Object>());
  const WireOptions b_to_a = wire_options(info[4].As<Napi::Object>());
  if (!alive(info.Env())) return;
  engine_ = engine->engine();
  {
    const Engine::Guard guard(*engine_);
    if (a == b || a->link() != nullptr || b->link() != nullptr) {
      fail(info, "an end of this link is plugged into another one already");
      return;
    }
    link_ = std::make_shared<Link>(std::move(a), std::move(b), a_to_b, b_to_a,
                                   static_cast<uint64_t>(info[5].As<Napi::Number>().DoubleValue()));
    engine_->add(link_);
  }
  open_ = true;
  // Whoever holds an end holds the wire and what it leads to: neither goes because nobody kept it.
  auto wire = info.This().As<Napi::Object>();
  for (const size_t side : {1, 2}) {
    const Napi::Value end = info[side].As<Napi::Object>().Get("native");
    if (!end.IsObject()) continue;
    end.As<Napi::Object>().Set("link", wire);
    wire.Set(side == 1 ? "a" : "b", end);
  }
}

void LinkWrap::shut() {
  if (!open_) return;
  open_ = false;
  const Engine::Guard guard(*engine_);
  link_->unplug();
  engine_->remove(*link_);
}

// [a to b, b to a]
Napi::Value LinkWrap::counters(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  auto both = Napi::Array::New(env, 2);
  const Engine::Guard guard(*engine_);
  for (uint32_t side = 0; side < 2; ++side) {
    const WireCounters& c = link_->counters(static_cast<int>(side));
    auto o = Napi::Object::New(env);
    const auto set = [&](const char* name, uint64_t value) {
      o.Set(name, Napi::Number::New(env, static_cast<double>(value)));
    };
    set("offered", c.offered);
    set("delivered", c.delivered);
    set("lost", c.lost);
    set("duplicated", c.duplicated);
    set("corrupted", c.corrupted);
    set("reordered", c.reordered);
    set("queueFull", c.queue_full);
    set("refused", c.refused);
    set("heldFrames", c.held_frames);
    set("heldBytes", c.held_bytes);
    both.Set(side, o);
  }
  return both;
}

}  // namespace ringcube
