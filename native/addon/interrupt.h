// An eventfd watched by libuv: one JavaScript call for each time it was written. Owns neither descriptor nor
// memory.
#pragma once

#include <uv.h>

#include <memory>

#include "addon/wrap.h"

namespace ringcube {

class Interrupt {
 public:
  // Null, with a JavaScript exception pending, if libuv refuses.
  static std::unique_ptr<Interrupt> watch(Napi::Env env, int fd, const Napi::Function& handler);
  ~Interrupt();  // stops at once; libuv lets go of the handle at its next turn
  Interrupt(const Interrupt&) = delete;
  Interrupt& operator=(const Interrupt&) = delete;
  void ref(bool on);

 private:
  struct Handle;  // shared with libuv, which lets go of it last, or first when the environment ends before us
  explicit Interrupt(std::shared_ptr<Handle> handle) : handle_(std::move(handle)) {}
  std::shared_ptr<Handle> handle_;
};

}  // namespace ringcube
