#pragma once

#include "addon/interrupt.h"
#include "addon/wrap.h"
#include "core/nic.h"
#include "core/share.h"

namespace ringcube {

class NicWrap final : public Wrap<NicWrap> {
 public:
  static Napi::Function define(Napi::Env env);
  explicit NicWrap(const Napi::CallbackInfo& info);
  ~NicWrap() override { shut(); }
  const std::shared_ptr<Nic>& nic() const { return nic_; }
  const std::shared_ptr<Engine>& engine() const { return engine_; }

 private:
  Napi::Value read(const Napi::CallbackInfo& info);
  void write(const Napi::CallbackInfo& info);
  void kick(const Napi::CallbackInfo& info);
  Napi::Value map(const Napi::CallbackInfo& info);
  Napi::Value unmap(const Napi::CallbackInfo& info);
  Napi::Value steer(const Napi::CallbackInfo& info);
  void share(const Napi::CallbackInfo& info);
  Napi::Value connections(const Napi::CallbackInfo& info);
  Napi::Value counters(const Napi::CallbackInfo& info);
  Napi::Value page(const Napi::CallbackInfo& info);
  void watch(const Napi::CallbackInfo& info);
  void ref(const Napi::CallbackInfo& info);
  bool open(const Napi::CallbackInfo& info);
  void close(const Napi::CallbackInfo&) { shut(); }
  void shut();

  std::shared_ptr<Engine> engine_;
  std::shared_ptr<Nic> nic_;
  std::shared_ptr<Share> share_;
  std::unique_ptr<Interrupt> interrupt_;
  bool open_ = false;
};

}  // namespace ringcube
