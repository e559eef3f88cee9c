// Streams frames through a Verilator model of any module with one input and one output stream, and stamps the cycles.
//
// Built with the model by fpga_facedet/simulation/verilator.py, which names the ports in macros and calls it as
//   simulator --input FILE --output FILE --stamps FILE --input-bits B --output-bits B --frames N --beats-in N
//             --beats-out N --pause-in P --pause-out P --longest-pause C --pace C --seed S --watchdog C
// The source offers beat n of all not before cycle n * pace / beats-in: pace is the cycles that it takes for a frame.
// FILEs hold raw little-endian words of whole bytes; the stamps are four uint64 a frame: the cycle of the first and the
// last input beat accepted, of the first and the last output beat taken. Cycle 0 is the first one after reset.
// Standard output gets the line "frame K" at the end of each frame. Exit codes: 0 done, 3 deadlock, 4 a broken rule of
// the stream protocol, 5 bad use, 6 a file that cannot be read or written; anything else is the model's own doing (a
// failed assertion aborts).

#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <vector>

#include "Vmodel.h"
#include "pauses.h"
#include "verilated.h"

namespace {

enum ExitCode { EXIT_DEADLOCK = 3, EXIT_PROTOCOL = 4, EXIT_USE = 5, EXIT_FILES = 6 };
constexpr int RESET_CYCLES = 20;
constexpr uint64_t SETTLE_CYCLES = 2000;  // after the last frame: a surplus beat would show by then

struct Failure : std::runtime_error {
    ExitCode code;
    Failure(ExitCode code, const std::string &what) : std::runtime_error(what), code(code) {}
};

// Ports of up to 64 bits are integers and wider ones arrays of 32-bit words; both are little-endian in memory.
template <typename Port> uint8_t *bytes_of(Port &port) { return reinterpret_cast<uint8_t *>(&port); }

template <typename Port> void put_word(Port &port, const uint8_t *word, unsigned bits) {
    const unsigned bytes = (bits + 7) / 8;
    std::memset(bytes_of(port), 0, sizeof port);
    std::memcpy(bytes_of(port), word, bytes);
    if (bits % 8) bytes_of(port)[bytes - 1] &= (1u << bits % 8) - 1;
}

struct Stamps {
    uint64_t first_input = 0, last_input = 0, first_output = 0, last_output = 0;
};

class Options {
  public:
    Options(int count, char **words) {
        for (int i = 1; i + 1 < count; i += 2) values[words[i]] = words[i + 1];
    }
    const std::string &text(const char *name) const {
        const auto found = values.find(name);
        if (found == values.end()) throw Failure(EXIT_USE, std::string("missing option ") + name);
        return found->second;
    }
    uint64_t number(const char *name) const { return std::stoull(text(name)); }
    double share(const char *name) const { return std::stod(text(name)); }

  private:
    std::map<std::string, std::string> values;
};

std::vector<uint8_t> read_file(const std::string &path, size_t size) {
    std::vector<uint8_t> data(size);
    FILE *file = std::fopen(path.c_str(), "rb");
    const bool whole = file && std::fread(data.data(), 1, size, file) == size;
    if (file) std::fclose(file);
    if (!whole) throw Failure(EXIT_FILES, "cannot read " + std::to_string(size) + " bytes of " + path);
    return data;
}

void write_file(const std::string &path, const void *data, size_t size) {
    FILE *file = std::fopen(path.c_str(), "wb");
    const bool whole = file && std::fwrite(data, 1, size, file) == size;
    if (!file || std::fclose(file) || !whole)
        throw Failure(EXIT_FILES, std::string("cannot write its results, ") + std::strerror(errno));
}

std::string place(const char *what, uint64_t beat, uint64_t beats) {
    return std::string(what) + " beat " + std::to_string(beat % beats) + " of frame " + std::to_string(beat / beats);
}

class Bench {
  public:
    explicit Bench(const Options &options)
        : options(options), input_bits(options.number("--input-bits")), output_bits(options.number("--output-bits")),
          frames(options.number("--frames")), beats_in(options.number("--beats-in")),
          beats_out(options.number("--beats-out")), watchdog(options.number("--watchdog")),
          pace(options.number("--pace")), begins_early(options.number("--begins-early") != 0),
          source(options.share("--pause-in"), options.number("--longest-pause"), options.number("--seed") * 2),
          sink(options.share("--pause-out"), options.number("--longest-pause"), options.number("--seed") * 2 + 1),
          stamps(frames), model(&context) {
        words_in = read_file(options.text("--input"), frames * beats_in * bytes_in());
        words_out.resize(frames * beats_out * bytes_out());
    }

    void run() {
        // Registers and memories start with random contents, so that what reset forgets shows.
        context.randReset(2);
        context.randSeed(int(options.number("--seed") % 1000000007) + 1);
        reset();
        while (sent < frames * beats_in || taken < frames * beats_out) step();
        for (uint64_t i = 0; i < SETTLE_CYCLES; ++i) step();
        model.final();
        write_file(options.text("--output"), words_out.data(), words_out.size());
        write_file(options.text("--stamps"), stamps.data(), stamps.size() * sizeof(Stamps));
    }

  private:
    const Options &options;
    const unsigned input_bits, output_bits;
    const uint64_t frames, beats_in, beats_out, watchdog, pace;
    const bool begins_early;
    Pauses source, sink;
    std::vector<Stamps> stamps;
    std::vector<uint8_t> words_in, words_out;
    VerilatedContext context;
    Vmodel model;
    uint64_t cycle = 0, last_progress = 0, sent = 0, taken = 0;
    bool offered = false;                // a word stays on the input until it is accepted
    bool waiting = false;                // the model offered a word in the last cycle and was not answered
    std::remove_reference_t<decltype(Vmodel::PORT_OUT_DATA)> held{};  // that word

    size_t bytes_in() const { return (input_bits + 7) / 8; }
    size_t bytes_out() const { return (output_bits + 7) / 8; }

    void rising_edge() {
        model.PORT_CLOCK = 1;
        model.eval();
        context.timeInc(1);
        model.PORT_CLOCK = 0;
        if (context.gotFinish()) throw Failure(EXIT_PROTOCOL, "it ended itself");
    }

    void reset() {
        model.PORT_CLOCK = 0;
        model.PORT_IN_VALID = 0;
        model.PORT_OUT_READY = 0;
        for (int i = 0; i < 2 * RESET_CYCLES; ++i) {
            model.PORT_RESET_N = i >= RESET_CYCLES;
            model.eval();
            rising_edge();
        }
    }

    void step() {
        const bool source_pauses = source.next();
        const bool due = cycle >= sent * pace / beats_in;
        if (!offered && !source_pauses && due && sent < frames * beats_in) {
            put_word(model.PORT_IN_DATA, &words_in[sent * bytes_in()], input_bits);
            offered = true;
        }
        model.PORT_IN_VALID = offered;
        model.PORT_OUT_READY = !sink.next();
        model.eval();
        if (offered && model.PORT_IN_READY) accept();
        check_output_is_held();
        if (model.PORT_OUT_VALID && model.PORT_OUT_READY) take();
        if (cycle - last_progress > watchdog) report_deadlock();
        rising_edge();
        ++cycle;
    }

    void accept() {
        Stamps &stamp = stamps[sent / beats_in];
        if (sent % beats_in == 0) stamp.first_input = cycle;
        stamp.last_input = cycle;
        ++sent;
        offered = false;
        last_progress = cycle;
    }

    void take() {
        if (taken >= frames * beats_out) return take_early();
        std::memcpy(&words_out[taken * bytes_out()], bytes_of(model.PORT_OUT_DATA), bytes_out());
        Stamps &stamp = stamps[taken / beats_out];
        if (taken % beats_out == 0) stamp.first_output = cycle;
        stamp.last_output = cycle;
        ++taken;
        last_progress = cycle;
        if (taken % beats_out == 0) {
            std::printf("frame %llu\n", (unsigned long long)(taken / beats_out));
            std::fflush(stdout);
        }
    }

    // A padding sends the upper edge of the next frame before a pixel of it has come. That depends on no pixel, so it is
    // what the first frame began with.
    void take_early() {
        const uint64_t beat = taken - frames * beats_out;
        if (!begins_early) throw Failure(EXIT_PROTOCOL, "it sent a beat after the end of the last frame");
        if (beat >= beats_out || std::memcmp(&words_out[beat * bytes_out()], bytes_of(model.PORT_OUT_DATA), bytes_out()))
            throw Failure(EXIT_PROTOCOL, "after the end of the last frame it sent another beat " + std::to_string(beat) +
                                             " than the first frame began with");
        ++taken;
        last_progress = cycle;
    }

    void check_output_is_held() {
        if (waiting && !model.PORT_OUT_VALID)
            throw Failure(EXIT_PROTOCOL, "it withdrew " + place("output", taken, beats_out));
        if (waiting && std::memcmp(&held, &model.PORT_OUT_DATA, sizeof held))
            throw Failure(EXIT_PROTOCOL, "it changed " + place("output", taken, beats_out) + " while that waited");
        waiting = model.PORT_OUT_VALID && !model.PORT_OUT_READY;
        if (waiting) held = model.PORT_OUT_DATA;
    }

    void report_deadlock() {
        model.final();  // it may have something to say
        const bool all_sent = sent == frames * beats_in;
        throw Failure(EXIT_DEADLOCK, "nothing moved for " + std::to_string(watchdog) + " cycles after cycle " +
                                         std::to_string(last_progress) + ": it " +
                                         (all_sent ? "has all of the input" : "waits at " + place("input", sent, beats_in)) +
                                         " and at " + place("output", taken, beats_out));
    }
};

}  // namespace

int main(int count, char **words) {
    std::signal(SIGXFSZ, SIG_IGN);  // a file over its limit is an error to tell, not a reason to die
    try {
        const Options options(count, words);
        Bench(options).run();
        return 0;
    } catch (const Failure &failure) {
        std::fprintf(stderr, "%s\n", failure.what());
        return failure.code;
    }
}
