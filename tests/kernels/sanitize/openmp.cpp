// The part of GCC's OpenMP runtime that the kernels call, on std::thread and std::mutex.
//
// ThreadSanitizer sees neither the barriers nor the locks inside libgomp, so it would report races
// that are none. It sees every one of these, so nothing has to be suppressed. A kernel that uses a
// construct which is not here does not link: add it below.

#include <barrier>
#include <cstdlib>
#include <mutex>
#include <thread>
#include <vector>

namespace {

struct Team {
  explicit Team(unsigned size) : size(size), barrier(size) {}
  const unsigned size;
  std::barrier<> barrier;
  std::mutex mutex;
  // The loop that is shared out; a thread that comes later to the same one finds it started.
  long next = 0, end = 0, step = 1, chunk = 1;
  unsigned inside = 0;
};

thread_local Team* team = nullptr;
thread_local unsigned rank = 0;
thread_local bool left_loop = false;
std::mutex critical, atomic;

bool more(Team& loop, long* start, long* stop) {
  std::lock_guard<std::mutex> lock(loop.mutex);
  const long left = (loop.end - loop.next) / loop.step;
  if (left <= 0) return false;
  *start = loop.next;
  loop.next += (left < loop.chunk ? left : loop.chunk) * loop.step;
  *stop = loop.next;
  return true;
}

}  // namespace

extern "C" {

int omp_get_thread_num() { return static_cast<int>(rank); }
int omp_get_num_threads() { return team ? static_cast<int>(team->size) : 1; }
int omp_get_max_threads() { return 4; }
int omp_in_parallel() { return team != nullptr && team->size > 1; }

// A region inside a region runs on the thread that meets it, as with libgomp's defaults.
void GOMP_parallel(void (*body)(void*), void* data, unsigned threads, unsigned) {
  if (threads == 0) threads = 4;
  if (omp_in_parallel()) threads = 1;
  Team here(threads);
  Team* const outer = team;
  const unsigned outer_rank = rank;
  std::vector<std::thread> others;
  for (unsigned k = 1; k < threads; ++k)
    others.emplace_back([&, k] {
      team = &here;
      rank = k;
      left_loop = false;
      body(data);
    });
  team = &here;
  rank = 0;
  left_loop = false;
  body(data);
  for (std::thread& other : others) other.join();
  team = outer;
  rank = outer_rank;
}

void GOMP_barrier() {
  if (team) team->barrier.arrive_and_wait();
}
void GOMP_critical_start() { critical.lock(); }
void GOMP_critical_end() { critical.unlock(); }
void GOMP_atomic_start() { atomic.lock(); }
void GOMP_atomic_end() { atomic.unlock(); }

bool GOMP_loop_nonmonotonic_dynamic_start(long first, long end, long step, long chunk, long* start,
                                          long* stop) {
  if (!team || step <= 0 || left_loop) std::abort();
  {
    std::lock_guard<std::mutex> lock(team->mutex);
    if (team->inside++ == 0) {
      team->next = first;
      team->end = end;
      team->step = step;
      team->chunk = chunk;
    }
  }
  return more(*team, start, stop);
}

bool GOMP_loop_nonmonotonic_dynamic_next(long* start, long* stop) {
  return more(*team, start, stop);
}

// All threads wait, as at the end of an OpenMP loop without nowait, before the next loop begins.
void GOMP_loop_end() {
  team->barrier.arrive_and_wait();
  {
    std::lock_guard<std::mutex> lock(team->mutex);
    team->inside = 0;
  }
  team->barrier.arrive_and_wait();
}

// Without that wait no second loop may follow in the same region: it would find the first one's state.
void GOMP_loop_end_nowait() { left_loop = true; }

}  // extern "C"
