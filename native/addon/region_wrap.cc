#include "addon/region_wrap.h"

namespace ringcube {

Napi::ArrayBuffer buffer_over(Napi::Env env, const std::shared_ptr<Region>& region) {
  auto held = std::make_unique<std::shared_ptr<Region>>(region);
  auto buffer = Napi::ArrayBuffer::New(
      env, region->data(), region->size(),
      [](Napi::Env, void*, std::shared_ptr<Region>* given) {
        delete given;
      },  // NOLINT(cppcoreguidelines-owning-memory)
      held.get());
  if (!buffer.IsEmpty()) std::ignore = held.release();  // the finalizer's now
  return buffer;
}

Napi::Function RegionWrap::define(Napi::Env env) {
  return DefineClass(env, "Region", {InstanceAccessor<&RegionWrap::buffer>("buffer")});
}

RegionWrap::RegionWrap(const Napi::CallbackInfo& info) : Wrap(info) {
  if (!alive(info.Env())) return;
  std::string error;
  region_ = Region::create(static_cast<size_t>(info[0].As<Napi::Number>().Int64Value()), error);
  if (region_ == nullptr) fail(info, error);
}

Napi::Value RegionWrap::buffer(const Napi::CallbackInfo& info) { return buffer_over(info.Env(), region_); }

}  // namespace ringcube
