#pragma once

#include "addon/interrupt.h"
#include "addon/wrap.h"
#include "core/share.h"

namespace ringcube {

class AttachmentWrap final : public Wrap<AttachmentWrap> {
 public:
  static Napi::Function define(Napi::Env env);
  explicit AttachmentWrap(const Napi::CallbackInfo& info);

 private:
  Napi::Value read(const Napi::CallbackInfo& info);
  void write(const Napi::CallbackInfo& info);
  void kick(const Napi::CallbackInfo& info);
  Napi::Value buffer(const Napi::CallbackInfo& info);
  Napi::Value page(const Napi::CallbackInfo& info);
  void watch(const Napi::CallbackInfo& info);
  void ref(const Napi::CallbackInfo& info);
  void close(const Napi::CallbackInfo& info);
  bool open(const Napi::CallbackInfo& info);

  std::unique_ptr<Attachment> attachment_;
  std::unique_ptr<Interrupt> interrupt_;  // declared after: stops watching before its descriptor closes
};

}  // namespace ringcube
