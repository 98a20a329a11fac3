#pragma once

#include "addon/wrap.h"
#include "core/replay.h"

namespace ringcube {

class ReplayWrap final : public Wrap<ReplayWrap> {
 public:
  static Napi::Function define(Napi::Env env);
  explicit ReplayWrap(const Napi::CallbackInfo& info);
  ~ReplayWrap() override { shut(); }
  const std::shared_ptr<Replay>& replay() const { return replay_; }

 private:
  void start(const Napi::CallbackInfo& info);
  void stop(const Napi::CallbackInfo& info);
  Napi::Value counters(const Napi::CallbackInfo& info);
  Napi::Value latencies(const Napi::CallbackInfo& info);
  void close(const Napi::CallbackInfo&) { shut(); }
  void shut();

  std::shared_ptr<Engine> engine_;
  std::shared_ptr<Replay> replay_;
  uint32_t cut_ = 0;
  bool open_ = false;
};

}  // namespace ringcube
