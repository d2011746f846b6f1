// A program that repeats recorded launches (tests/cuda/host.py writes them) with arrays of exactly the recorded size,
// for the sanitizers, which a library inside Python can't have.
#include <fstream>
#include <memory>

template <class T>
static T read(std::istream& in) {
    T value;
    in.read(reinterpret_cast<char*>(&value), sizeof value);
    return value;
}

int main(int, char** argv) {
    std::ifstream in(argv[1], std::ios::binary);
    for (auto launches = read<unsigned>(in); launches; --launches) {
        auto kernel = read<unsigned>(in);
        unsigned grid[3], block[3];
        for (unsigned& size : grid) size = read<unsigned>(in);
        for (unsigned& size : block) size = read<unsigned>(in);
        std::vector<std::unique_ptr<char[]>> memory;
        std::vector<void*> arguments;
        for (auto count = read<unsigned>(in); count; --count) {
            auto bytes = read<unsigned>(in);
            memory.emplace_back(new char[bytes]);
            in.read(memory.back().get(), bytes);
            arguments.push_back(memory.back().get());
        }
        if (!in) shim::fail("the recording ends too early");
        replay(kernel, grid, block, arguments.data());
    }
}
