#include "core/dma.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <string>

#include "check.h"
#include "fixture.h"
#include "mock_driver.h"

using namespace ringcube;
using mock::Bench;
using mock::Bytes;
using mock::cut;
using mock::kBaseFeatures;
using mock::kHeader;
using mock::kRingReset;
using mock::make_frame;

TEST(a_mapping_that_may_only_be_read_takes_no_frame) {
  Bench b;
  std::string error;
  const auto region = Region::create(4096, error);
  REQUIRE(b.nic->map(0, {uint64_t{1} << 32, 4096, region->data(), Access::kRead, region}));
  REQUIRE(b.nic->map(1, {uint64_t{1} << 32, 4096, region->data(), Access::kRead, region}));
  REQUIRE(b.driver.start(kBaseFeatures, 8));
  const Bytes frame = make_frame(1, 60);
  std::memset(region->data(), 0, 4096);
  std::memcpy(region->data() + kHeader, frame.data(), 60);
  b.driver.ring(1).add(cut(uint64_t{1} << 32, {kHeader + 60U}, false));
  b.driver.publish(1);
  b.driver.ring(0).add(cut(uint64_t{1} << 32, {kHeader + 60U}, true));
  b.driver.publish(0);
  b.step();
  CHECK_EQ(b.wire->got.size(), 1);
  b.wire->send(make_frame(2, 60), 0);
  CHECK_EQ(b.nic->fault(0), Fault::kOutsideDomain);
  CHECK(std::equal(frame.begin(), frame.end(), region->data() + kHeader));
}

TEST(each_queue_has_a_domain_of_its_own) {
  Bench b;
  std::string error;
  const auto region = Region::create(4096, error);
  REQUIRE(b.nic->map(1, {uint64_t{1} << 32, 4096, region->data(), Access::kBoth, region}));
  CHECK(!b.nic->map(1, {uint64_t{1} << 32, 4096, region->data(), Access::kBoth, region}));
  CHECK(!b.nic->map(3, {0, 4096, region->data(), Access::kBoth, region}));
  CHECK(!b.nic->map(-2, {0, 4096, region->data(), Access::kBoth, region}));
  REQUIRE(b.driver.start(kBaseFeatures, 8));
  b.driver.ring(0).add(cut(uint64_t{1} << 32, {kHeader + 60U}, true));
  b.driver.publish(0);
  b.wire->send(make_frame(1, 60), 0);
  CHECK_EQ(b.nic->fault(0), Fault::kOutsideDomain);
}

TEST(a_mapping_for_every_queue_is_for_all_or_none) {
  Bench b;
  std::string error;
  const auto region = Region::create(4096, error);
  const Mapping mapping = {uint64_t{1} << 32, 4096, region->data(), Access::kBoth, region};
  REQUIRE(b.nic->map(2, mapping));
  CHECK(!b.nic->map(Nic::kEveryQueue, mapping));
  REQUIRE(b.nic->unmap(2, mapping.iova));
  CHECK(b.nic->map(Nic::kEveryQueue, mapping));  // so nothing was left of it on the others
  CHECK(b.nic->unmap(Nic::kEveryQueue, mapping.iova));
  CHECK(!b.nic->unmap(Nic::kEveryQueue, mapping.iova));
  for (uint16_t q = 0; q < 3; ++q) CHECK(b.nic->map(q, mapping));
}

TEST(unmapping_stops_the_queue_before_the_pages_go) {
  Bench b;
  std::string error;
  auto region = Region::create(4096, error);
  const std::weak_ptr<Region> watch = region;
  REQUIRE(b.nic->map(0, {uint64_t{1} << 32, 4096, region->data(), Access::kBoth, region}));
  region.reset();
  CHECK(!watch.expired());  // the mapping holds it
  REQUIRE(b.driver.start(kRingReset, 8));
  b.driver.ring(0).add(cut(uint64_t{1} << 32, {kHeader + 60U}, true));
  b.driver.publish(0);
  // Delivered but not shown yet: then the pages go.
  Bytes frame = make_frame(1, 60);
  const Slice slice = {frame.data(), 60};
  CHECK_EQ(b.nic->deliver({.slices = &slice, .count = 1, .length = 60}, 0, false), Delivery::kTaken);
  REQUIRE(b.nic->unmap(0, uint64_t{1} << 32));
  CHECK(watch.expired());
  b.nic->flush(0);
  CHECK(!b.driver.ring(0).pending());
  b.driver.select(0);
  CHECK_EQ(b.driver.read(kRegQueueReady), 0);
  b.wire->send(make_frame(1, 60), 0);
  CHECK_EQ(b.nic->nic_counters().drop_not_ready, 1);
}

CHECK_MAIN()
