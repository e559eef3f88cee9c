// The public interface of hls::stream, as each release of Vitis HLS has it in C simulation, and nothing more: what it
// keeps inside has other names here than in the headers of hls4ml, and its destructor is not virtual.
#pragma once

#include <vector>

namespace hls {

template <class T> class stream {
  public:
    stream() = default;
    explicit stream(const char *) {}
    stream(const stream &) = delete;
    stream &operator=(const stream &) = delete;

    bool empty() { return next == elements.size(); }
    bool full() { return false; }
    T read() { return elements.at(next++); }
    void read(T &head) { head = read(); }
    void write(const T &tail) { elements.push_back(tail); }
    void operator>>(T &head) { read(head); }
    void operator<<(const T &tail) { write(tail); }

  private:
    std::vector<T> elements;
    std::size_t next = 0;
};

} // namespace hls
