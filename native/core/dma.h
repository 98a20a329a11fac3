// A DMA domain: what one queue may touch, as an IOMMU would hold it. Every descriptor goes through it.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "core/region.h"

namespace ringcube {

enum class Access : uint8_t { kRead = 1, kWrite = 2, kBoth = 3 };

struct Mapping {
  uint64_t iova;
  uint64_t length;
  std::byte* data;
  Access access;
  std::shared_ptr<Region> region;  // keeps the pages for as long as they can be addressed
};

class DmaDomain {
 public:
  static constexpr size_t kMaxMappings = 16;

  // False if the table is full or the range is empty, wraps, or overlaps another.
  bool map(Mapping mapping) {
    if (mapping.length == 0 || mapping.iova + mapping.length < mapping.iova) return false;
    if (table_.size() == kMaxMappings) return false;
    for (const Mapping& m : table_)
      if (mapping.iova < m.iova + m.length && m.iova < mapping.iova + mapping.length) return false;
    table_.push_back(std::move(mapping));
    return true;
  }

  bool unmap(uint64_t iova) {
    return std::erase_if(table_, [iova](const Mapping& m) { return m.iova == iova; }) != 0;
  }

  void clear() { table_.clear(); }

  // Where [iova, iova + length) lies, or nullptr. A buffer lies within one mapping.
  std::byte* translate(uint64_t iova, uint64_t length, Access access) const {
    for (const Mapping& m : table_) {
      const uint64_t at = iova - m.iova;  // wraps to a huge value below m.iova
      if (at < m.length && length <= m.length - at)
        return (static_cast<uint8_t>(m.access) & static_cast<uint8_t>(access)) == static_cast<uint8_t>(access)
                   ? m.data + at
                   : nullptr;
    }
    return nullptr;
  }

 private:
  std::vector<Mapping> table_;
};

}  // namespace ringcube
