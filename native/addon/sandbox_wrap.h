#pragma once

#include "addon/wrap.h"
#include "core/sandbox.h"

namespace ringcube {

class SandboxWrap final : public Wrap<SandboxWrap> {
 public:
  static Napi::Function define(Napi::Env env);
  explicit SandboxWrap(const Napi::CallbackInfo& info);
  ~SandboxWrap() override { shut(); }
  const std::shared_ptr<Sandbox>& sandbox() const { return sandbox_; }

 private:
  void map(const Napi::CallbackInfo& info);
  void unmap(const Napi::CallbackInfo& info);
  void protect(const Napi::CallbackInfo& info);
  Napi::Value guard(const Napi::CallbackInfo& info);
  void close(const Napi::CallbackInfo&) { shut(); }
  bool memory_bytes(const Napi::CallbackInfo& info, size_t& bytes);
  void shut();

  // Strong, so that V8 does not unmap the memory before we have put back what we laid there. Were it a
  // property of the object around us, a collection would take both at once, and the memory first.
  Napi::ObjectReference memory_;
  void* base_ = nullptr;
  std::shared_ptr<Sandbox> sandbox_;  // also the watchdog's; closed by us, while there is a memory
};

}  // namespace ringcube
