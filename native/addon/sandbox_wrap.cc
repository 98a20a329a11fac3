#include "addon/sandbox_wrap.h"

#include "addon/region_wrap.h"

namespace ringcube {

namespace {

size_t size(const Napi::Value& value) { return static_cast<size_t>(value.As<Napi::Number>().Int64Value()); }

}  // namespace

Napi::Function SandboxWrap::define(Napi::Env env) {
  return DefineClass(
      env, "Sandbox",
      {InstanceMethod<&SandboxWrap::map>("map"), InstanceMethod<&SandboxWrap::unmap>("unmap"),
       InstanceMethod<&SandboxWrap::protect>("protect"), InstanceMethod<&SandboxWrap::guard>("guard"),
       InstanceMethod<&SandboxWrap::close>("close"),
       StaticValue("pageBytes", Napi::Number::New(env, static_cast<double>(page_bytes())))});
}

// new Sandbox(memory: WebAssembly.Memory)
SandboxWrap::SandboxWrap(const Napi::CallbackInfo& info) : Wrap(info) {
  const auto memory = info[0].As<Napi::Object>();
  const Napi::Value buffer = memory.Get("buffer");
  if (!alive(info.Env())) return;
  if (!buffer.IsArrayBuffer() || buffer.As<Napi::ArrayBuffer>().ByteLength() == 0) {
    fail(info, "a memory that is not shared, of one page at least, is needed");
    return;
  }
  base_ = buffer.As<Napi::ArrayBuffer>().Data();
  if (reinterpret_cast<uintptr_t>(base_) % page_bytes() != 0) {
    fail(info, "V8 laid its memory out otherwise: it begins within a page");
    return;
  }
  memory_ = Napi::Persistent(memory);
  sandbox_ = std::make_shared<Sandbox>(static_cast<std::byte*>(base_));
}

// What the memory holds now: it may have grown. False, with an exception, if there is nothing to work on.
bool SandboxWrap::memory_bytes(const Napi::CallbackInfo& info, size_t& bytes) {
  if (memory_.IsEmpty()) {
    fail(info, "the sandbox was closed");
    return false;
  }
  const Napi::Value value = memory_.Value().Get("buffer");
  if (!alive(info.Env())) return false;
  auto buffer = value.As<Napi::ArrayBuffer>();
  if (!value.IsArrayBuffer() || buffer.Data() != base_) {
    fail(info, "V8 laid its memory out otherwise: it moved");
    return false;
  }
  bytes = buffer.ByteLength();
  return true;
}

// map(region, at, offset, length)
void SandboxWrap::map(const Napi::CallbackInfo& info) {
  auto* const region = unwrap<RegionWrap>(info.Env(), info[0]);
  size_t bytes = 0;
  std::string error;
  if (region == nullptr || !memory_bytes(info, bytes)) return;
  if (!sandbox_->map(*region->region(), size(info[1]), size(info[2]), size(info[3]), bytes, error))
    fail(info, error);
}

// unmap(at, length)
void SandboxWrap::unmap(const Napi::CallbackInfo& info) {
  size_t bytes = 0;
  std::string error;
  if (memory_bytes(info, bytes) && !sandbox_->unmap(size(info[0]), size(info[1]), error)) fail(info, error);
}

// protect(at, length, accessible). Called around each upcall, so it asks nothing of JavaScript; after close()
// there is no window that it could be of.
void SandboxWrap::protect(const Napi::CallbackInfo& info) {
  std::string error;
  if (sandbox_ != nullptr &&
      !sandbox_->protect(size(info[0]), size(info[1]), info[2].As<Napi::Boolean>().Value(), error))
    fail(info, error);
}

// guard(): '', or why there can't be a guard page.
Napi::Value SandboxWrap::guard(const Napi::CallbackInfo& info) {
  size_t bytes = 0;
  std::string error;
  if (memory_bytes(info, bytes)) sandbox_->guard(bytes, error);
  return Napi::String::New(info.Env(), error);
}

void SandboxWrap::shut() {
  if (sandbox_ != nullptr) sandbox_->close();
  memory_.Reset();
}

}  // namespace ringcube
