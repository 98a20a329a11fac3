#pragma once

#include "addon/wrap.h"
#include "core/region.h"

namespace ringcube {

class RegionWrap final : public Wrap<RegionWrap> {
 public:
  static Napi::Function define(Napi::Env env);
  explicit RegionWrap(const Napi::CallbackInfo& info);
  const std::shared_ptr<Region>& region() const { return region_; }

 private:
  Napi::Value buffer(const Napi::CallbackInfo& info);

  std::shared_ptr<Region> region_;
};

}  // namespace ringcube
