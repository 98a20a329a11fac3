#include "addon/region_wrap.h"

namespace ringcube {

Napi::ArrayBuffer buffer_over(Napi::Env env, const std::shared_ptr<Region>& region) {
  return Napi::ArrayBuffer::New(
      env, region->data(), region->size(),
      [](Napi::Env, void*, std::shared_ptr<Region>* held) { delete held; },  // NOLINT(cppcoreguidelines-owning-memory)
      new std::shared_ptr<Region>(region));                                  // NOLINT(cppcoreguidelines-owning-memory)
}

Napi::Function RegionWrap::define(Napi::Env env) {
  return DefineClass(env, "Region", {InstanceAccessor<&RegionWrap::buffer>("buffer")});
}

RegionWrap::RegionWrap(const Napi::CallbackInfo& info) : Wrap(info) {
  std::string error;
  region_ = Region::create(static_cast<size_t>(info[0].As<Napi::Number>().Int64Value()), error);
  if (region_ == nullptr) fail(info, error);
}

Napi::Value RegionWrap::buffer(const Napi::CallbackInfo& info) { return buffer_over(info.Env(), region_); }

}  // namespace ringcube
