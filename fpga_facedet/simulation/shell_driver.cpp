// The Verilated facedet_overlay as a process that does what it is asked for: the DMA's and the processor's side of it.
//
// Built and spoken to by fpga_facedet/simulation/shell.py. Called as
//   simulator SEED
// it resets the model and then serves requests from standard input until that ends. A request is five uint64, the
// operation and up to four arguments, little-endian, and for SEND a payload; an answer is two uint64, a value and the
// length of what follows it, on standard output. Whatever the model says goes to standard error.
// Exit codes: 0 done, 4 a broken rule of AXI, 5 bad use; anything else is the model's own doing (a failed assertion
// aborts).

#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "Vmodel.h"
#include "pauses.h"
#include "verilated.h"

namespace {

enum ExitCode { EXIT_PROTOCOL = 4, EXIT_USE = 5 };
enum Operation : uint64_t {
    READ = 1,       // offset, cycles until the answer is taken -> the register
    WRITE,          // offset, value | strobes << 32, cycles until address | data << 32, cycles until the answer is taken
    SEND,           // bytes, is it the packet's end, beats with a TKEEP of their own (all or 0), then bytes and TKEEPs
    STEP,           // cycles
    RECEIVE,        // most bytes -> was that the packet's end, then the bytes
    RUN_TO_OUTPUT,  // most cycles -> is there a packet's end
    PAUSE,          // shares of input and output in 2^-32, seed, longest pause
    FLUSH_INPUT,
    OUTPUT_READY,   // whether
    RESET,
};
constexpr size_t BEAT_BYTES = 8;
constexpr int RESET_CYCLES = 20;
constexpr uint64_t LONGEST_ANSWER = 100;  // cycles in which the registers have to answer
constexpr uint64_t REG_CONTROL = 0x08, RESET_ALL = 2;
constexpr int WITHDRAWAL_CYCLES = 4;  // after RESET_ALL was written

struct Failure : std::runtime_error {
    ExitCode code;
    Failure(ExitCode code, const std::string &what) : std::runtime_error(what), code(code) {}
};

struct Beat {
    uint64_t data = 0;
    uint8_t keep = 0;
    bool last = false;
    bool operator!=(const Beat &other) const {
        return data != other.data || keep != other.keep || last != other.last;
    }
};

class Bench {
  public:
    explicit Bench(int seed) {
        // Registers and memories start with random contents, so that what reset forgets shows.
        context.randReset(2);
        context.randSeed(seed + 1);
        model = std::make_unique<Vmodel>(&context);
        reset();
    }

    ~Bench() { model->final(); }

    void reset() {
        to_send.clear();
        received.clear();
        ends_received = 0;
        offered = waiting = false;
        model->s_axis_tvalid = model->s_axi_awvalid = model->s_axi_wvalid = model->s_axi_arvalid = 0;
        model->m_axis_tready = model->s_axi_bready = model->s_axi_rready = 0;
        model->aresetn = 0;
        for (int i = 0; i < RESET_CYCLES; ++i) {
            model->eval();
            if (i > 0 && (model->m_axis_tvalid || model->s_axi_bvalid || model->s_axi_rvalid))
                throw Failure(EXIT_PROTOCOL, "it has something to say while it is in reset");
            rising_edge();
        }
        model->aresetn = 1;
    }

    void send(const std::vector<uint8_t> &bytes, bool last, const std::vector<uint8_t> &keeps) {
        for (size_t at = 0; at < bytes.size(); at += BEAT_BYTES) {
            Beat beat;
            const size_t count = std::min(BEAT_BYTES, bytes.size() - at);
            std::memcpy(&beat.data, &bytes[at], count);
            beat.keep = keeps.empty() ? uint8_t((1u << count) - 1) : keeps.at(at / BEAT_BYTES);
            beat.last = last && at + count == bytes.size();
            to_send.push_back(beat);
        }
    }

    void flush_input() {
        to_send.clear();
        offered = false;
    }

    uint64_t receive(size_t most, std::vector<uint8_t> &bytes) {
        while (!received.empty() && bytes.size() + BEAT_BYTES <= most) {
            const Beat beat = received.front();
            received.pop_front();
            const auto *data = reinterpret_cast<const uint8_t *>(&beat.data);
            bytes.insert(bytes.end(), data, data + BEAT_BYTES);
            if (beat.last) {
                --ends_received;
                return 1;
            }
        }
        return 0;
    }

    uint64_t run_to_output(uint64_t cycles) {
        while (!ends_received && cycles-- > 0) step();
        return ends_received > 0;
    }

    void pause(double input, double output, uint64_t seed, uint64_t longest) {
        source = Pauses(input, longest, seed * 2);
        sink = Pauses(output, longest, seed * 2 + 1);
    }

    void output_ready(bool ready) { armed = ready; }

    void step() {
        const bool source_pauses = source.next();
        if (!offered && !source_pauses && !to_send.empty()) {
            model->s_axis_tdata = to_send.front().data;
            model->s_axis_tkeep = to_send.front().keep;
            model->s_axis_tlast = to_send.front().last;
            offered = true;
        }
        model->s_axis_tvalid = offered;
        const bool ready = !sink.next() && armed;
        model->m_axis_tready = !ready;
        model->eval();
        const bool input_before = model->s_axis_tready, output_before = model->m_axis_tvalid;
        model->m_axis_tready = ready;
        model->eval();
        if (input_before != bool(model->s_axis_tready) || output_before != bool(model->m_axis_tvalid))
            throw Failure(EXIT_PROTOCOL, "m_axis_tready reaches s_axis_tready or m_axis_tvalid in the same cycle");
        if (offered && model->s_axis_tready) {
            to_send.pop_front();
            offered = false;
        }
        check_output_is_held();
        if (model->m_axis_tvalid && model->m_axis_tready) take();
        check_answers();
        rising_edge();
        if (may_withdraw > 0) --may_withdraw;
    }

    uint64_t read(uint64_t offset, uint64_t answer_delay) {
        model->s_axi_araddr = offset;
        model->s_axi_arvalid = 1;
        wait_for([&] { return model->s_axi_arready; });
        model->s_axi_arvalid = 0;
        reads_open = 1;
        for (uint64_t i = 0; i < answer_delay; ++i) step();
        model->s_axi_rready = 1;
        uint64_t value = 0;
        wait_for([&] {
            value = model->s_axi_rdata;
            return model->s_axi_rvalid;
        });
        model->s_axi_rready = 0;
        reads_open = 0;
        return value;
    }

    void write(uint64_t offset, uint32_t value, unsigned strobes, uint64_t address_delay, uint64_t data_delay,
               uint64_t answer_delay) {
        bool address_done = false, data_done = false;
        for (uint64_t cycle = 0; !address_done || !data_done; ++cycle) {
            if (cycle > address_delay + data_delay + LONGEST_ANSWER)
                throw Failure(EXIT_PROTOCOL, "its registers do not take a write");
            model->s_axi_awaddr = offset;
            model->s_axi_wdata = value;
            model->s_axi_wstrb = strobes;
            model->s_axi_awvalid = !address_done && cycle >= address_delay;
            model->s_axi_wvalid = !data_done && cycle >= data_delay;
            model->eval();
            const bool address_now = model->s_axi_awvalid && model->s_axi_awready;
            const bool data_now = model->s_axi_wvalid && model->s_axi_wready;
            step();
            address_done |= address_now;
            data_done |= data_now;
        }
        model->s_axi_awvalid = model->s_axi_wvalid = 0;
        writes_open = 1;
        if (offset == REG_CONTROL && (strobes & 1) && (value & RESET_ALL)) may_withdraw = WITHDRAWAL_CYCLES;
        for (uint64_t i = 0; i < answer_delay; ++i) step();
        model->s_axi_bready = 1;
        wait_for([&] { return model->s_axi_bvalid; });
        model->s_axi_bready = 0;
        writes_open = 0;
    }

  private:
    VerilatedContext context;
    std::unique_ptr<Vmodel> model;
    Pauses source{0, 1, 0}, sink{0, 1, 1};
    std::deque<Beat> to_send, received;
    uint64_t ends_received = 0;
    bool armed = true;
    bool offered = false;  // the first of to_send stays on the input until it is accepted
    bool waiting = false;  // a beat was on the output in the last cycle and was not taken
    Beat held;             // that beat
    int may_withdraw = 0;  // cycles for which it may vanish
    int reads_open = 0, writes_open = 0;
    bool read_waiting = false, write_waiting = false;
    uint32_t read_held = 0;

    void rising_edge() {
        model->aclk = 1;
        model->eval();
        context.timeInc(1);
        model->aclk = 0;
        if (context.gotFinish()) throw Failure(EXIT_PROTOCOL, "it ended itself");
    }

    // Runs up to and including the first cycle in which `done` holds.
    template <typename Done> void wait_for(Done done) {
        for (uint64_t cycle = 0; cycle <= LONGEST_ANSWER; ++cycle) {
            model->eval();
            const bool now = done();
            step();
            if (now) return;
        }
        throw Failure(EXIT_PROTOCOL, "its registers do not answer");
    }

    void check_output_is_held() {
        const Beat beat{model->m_axis_tdata, model->m_axis_tkeep, bool(model->m_axis_tlast)};
        if (waiting && may_withdraw == 0) {
            if (!model->m_axis_tvalid) throw Failure(EXIT_PROTOCOL, "it withdrew an output beat");
            if (beat != held) throw Failure(EXIT_PROTOCOL, "it changed an output beat while that waited");
        }
        waiting = model->m_axis_tvalid && !model->m_axis_tready;
        held = beat;
    }

    void take() {
        const Beat beat{model->m_axis_tdata, model->m_axis_tkeep, bool(model->m_axis_tlast)};
        if (beat.keep != 0xFF) throw Failure(EXIT_PROTOCOL, "it sent an output beat that is not whole");
        received.push_back(beat);
        ends_received += beat.last;
    }

    void check_answers() {
        if ((model->s_axi_rvalid && !reads_open) || (model->s_axi_bvalid && !writes_open))
            throw Failure(EXIT_PROTOCOL, "its registers answer what was not asked");
        if ((model->s_axi_rvalid && model->s_axi_rresp) || (model->s_axi_bvalid && model->s_axi_bresp))
            throw Failure(EXIT_PROTOCOL, "its registers answer with an error");
        if ((read_waiting && (!model->s_axi_rvalid || model->s_axi_rdata != read_held)) ||
            (write_waiting && !model->s_axi_bvalid))
            throw Failure(EXIT_PROTOCOL, "its registers withdrew or changed an answer");
        read_waiting = model->s_axi_rvalid && !model->s_axi_rready;
        write_waiting = model->s_axi_bvalid && !model->s_axi_bready;
        read_held = model->s_axi_rdata;
    }
};

void serve(Bench &bench, FILE *requests, FILE *answers) {
    uint64_t request[5];
    while (std::fread(request, sizeof request, 1, requests) == 1) {
        const auto [operation, a, b, c, d] = request;
        uint64_t answer[2] = {0, 0};
        std::vector<uint8_t> payload;
        switch (operation) {
            case READ: answer[0] = bench.read(a, b); break;
            case WRITE: bench.write(a, uint32_t(b), unsigned(b >> 32), uint32_t(c), c >> 32, d); break;
            case SEND: {
                std::vector<uint8_t> bytes(a), keeps(c);
                if (std::fread(bytes.data(), 1, a, requests) != a) return;
                if (std::fread(keeps.data(), 1, c, requests) != c) return;
                bench.send(bytes, b, keeps);
                break;
            }
            case STEP:
                for (uint64_t i = 0; i < a; ++i) bench.step();
                break;
            case RECEIVE: answer[0] = bench.receive(a, payload); break;
            case RUN_TO_OUTPUT: answer[0] = bench.run_to_output(a); break;
            case PAUSE: bench.pause(double(a) * 0x1p-32, double(b) * 0x1p-32, c, d); break;
            case FLUSH_INPUT: bench.flush_input(); break;
            case OUTPUT_READY: bench.output_ready(a); break;
            case RESET: bench.reset(); break;
            default: throw Failure(EXIT_USE, "unknown operation " + std::to_string(operation));
        }
        answer[1] = payload.size();
        std::fwrite(answer, sizeof answer, 1, answers);
        std::fwrite(payload.data(), 1, payload.size(), answers);
        if (std::fflush(answers)) return;
    }
}

}  // namespace

int main(int count, char **words) {
    // The model prints on standard output; ours is for answers alone.
    FILE *answers = fdopen(dup(STDOUT_FILENO), "wb");
    dup2(STDERR_FILENO, STDOUT_FILENO);
    try {
        if (count != 2 || !answers) throw Failure(EXIT_USE, "usage: simulator SEED");
        Bench bench(std::atoi(words[1]));
        serve(bench, stdin, answers);
        return 0;
    } catch (const Failure &failure) {
        std::fflush(stdout);
        std::fprintf(stderr, "%s\n", failure.what());
        return failure.code;
    }
}
