// Memory for outputs that is used again. A fresh array beyond the allocator's threshold costs a page
// fault every 4 KiB, which is several times what a kernel takes to fill it.

#include <cstdint>
#include <cstdlib>
#include <map>
#include <mutex>
#include <new>
#include <vector>

#ifdef _WIN32
#include <malloc.h>
#define SNP_EXPORT extern "C" __declspec(dllexport)
#else
#include <pthread.h>
#include <sys/mman.h>
#define SNP_EXPORT extern "C" __attribute__((visibility("default")))
#endif

namespace {

// DLPack 0.x, as torch reads it from a capsule named "dltensor".
struct DLDevice {
  int32_t type, id;
};
struct DLDataType {
  uint8_t code, bits;
  uint16_t lanes;
};
struct DLTensor {
  void* data;
  DLDevice device;
  int32_t ndim;
  DLDataType dtype;
  int64_t* shape;
  int64_t* strides;
  uint64_t byte_offset;
};
struct DLManagedTensor {
  DLTensor tensor;
  void* context;
  void (*deleter)(DLManagedTensor*);
};

constexpr size_t kAlignment = 64;
// From here on a block is worth pages of 2 MiB: one fault and one translation for 512.
constexpr size_t kHugePage = size_t{1} << 21, kHugeFrom = 2 * kHugePage;

class Pool {
 public:
  void* take(size_t bytes) {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      auto found = free_.find(bytes);
      if (found != free_.end() && !found->second.empty()) {
        void* block = found->second.back();
        found->second.pop_back();
        kept_ -= bytes;
        return block;
      }
    }
#ifdef _WIN32
    return _aligned_malloc(bytes, kAlignment);
#else
    void* block = nullptr;
    if (posix_memalign(&block, bytes < kHugeFrom ? kAlignment : kHugePage, bytes)) return nullptr;
#ifdef MADV_HUGEPAGE
    // Only a wish; the rest that fills no such page stays in small ones.
    if (bytes >= kHugeFrom) madvise(block, bytes / kHugePage * kHugePage, MADV_HUGEPAGE);
#endif
    return block;
#endif
  }

  void give_back(void* block, size_t bytes) {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      if (kept_ + bytes <= limit_) {
        free_[bytes].push_back(block);
        kept_ += bytes;
        return;
      }
    }
    release(block);
  }

  void clear() {
    std::lock_guard<std::mutex> lock(mutex_);
    release_all();
  }

  void limit(size_t bytes) {
    std::lock_guard<std::mutex> lock(mutex_);
    limit_ = bytes;
    if (kept_ > bytes) release_all();
  }

  size_t kept() {
    std::lock_guard<std::mutex> lock(mutex_);
    return kept_;
  }

  // Around a fork: a child has only the thread that forked, and no one to unlock for another.
  void lock() { mutex_.lock(); }
  void unlock() { mutex_.unlock(); }

 private:
  void release_all() {
    for (auto& entry : free_)
      for (void* block : entry.second) release(block);
    free_.clear();
    kept_ = 0;
  }

  static void release(void* block) {
#ifdef _WIN32
    _aligned_free(block);
#else
    std::free(block);
#endif
  }

  std::mutex mutex_;
  std::map<size_t, std::vector<void*>> free_;
  size_t kept_ = 0;
  size_t limit_ = size_t{1} << 30;
};

// Never destroyed: torch may free a tensor after this library's static objects are gone.
Pool* make_pool();
Pool& pool() {
  static Pool* instance = make_pool();
  return *instance;
}

Pool* make_pool() {
#ifndef _WIN32
  pthread_atfork([] { pool().lock(); }, [] { pool().unlock(); }, [] { pool().unlock(); });
#endif
  return new Pool;
}

struct Block {
  DLManagedTensor managed;
  int64_t shape, stride;
  size_t bytes;
};

void give_back(DLManagedTensor* managed) {
  Block* block = static_cast<Block*>(managed->context);
  pool().give_back(managed->tensor.data, block->bytes);
  delete block;
}

}  // namespace

// Returns a DLManagedTensor of `count` float32 values, or null when there is no memory.
SNP_EXPORT void* snp_pool_tensor(int64_t count) {
  const size_t bytes = static_cast<size_t>(count) * sizeof(float);
  void* data = pool().take(bytes);
  Block* block = data ? new (std::nothrow) Block : nullptr;
  if (!block) return nullptr;
  block->shape = count;
  block->stride = 1;
  block->bytes = bytes;
  block->managed.tensor = {data, {1, 0}, 1, {2, 32, 1}, &block->shape, &block->stride, 0};
  block->managed.context = block;
  block->managed.deleter = give_back;
  return &block->managed;
}

SNP_EXPORT void snp_pool_clear() { pool().clear(); }
SNP_EXPORT void snp_pool_limit(int64_t bytes) { pool().limit(static_cast<size_t>(bytes)); }
SNP_EXPORT int64_t snp_pool_kept() { return static_cast<int64_t>(pool().kept()); }
