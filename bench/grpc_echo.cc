// grpc_echo.cc - the same 64 bytes over gRPC C++: an asynchronous client, a callback server.
//
//     grpc_echo serve ADDRESS                    until it is killed
//     grpc_echo load ADDRESS IN_FLIGHT SECONDS   prints one JSON object
#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "echo.grpc.pb.h"

using bench::v1::Echo;
using bench::v1::EchoMessage;
using Clock = std::chrono::steady_clock;

class Service final : public Echo::CallbackService {
    grpc::ServerUnaryReactor *Echo(grpc::CallbackServerContext *context,
                                   const EchoMessage *request, EchoMessage *reply) override
    {
        reply->set_payload(request->payload());
        auto *reactor = context->DefaultReactor();
        reactor->Finish(grpc::Status::OK);
        return reactor;
    }
};

static int serve(const char *address)
{
    Service service;
    grpc::ServerBuilder builder;

    builder.AddListeningPort(address, grpc::InsecureServerCredentials());
    builder.RegisterService(&service);
    auto server = builder.BuildAndStart();
    if (!server)
        return 1;
    server->Wait();
    return 0;
}

struct Call {
    std::unique_ptr<grpc::ClientContext> context;
    std::unique_ptr<grpc::ClientAsyncResponseReader<EchoMessage>> reader;
    EchoMessage reply;
    grpc::Status status;
    Clock::time_point since;
};

static void begin(Call *call, Echo::Stub *stub, grpc::CompletionQueue *queue)
{
    EchoMessage message;

    message.set_payload(std::string(64, '\0'));
    call->context = std::make_unique<grpc::ClientContext>();
    call->context->set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(10));
    call->since = Clock::now();
    call->reader = stub->AsyncEcho(call->context.get(), message, queue);
    call->reader->Finish(&call->reply, &call->status, call);
}

static int load(const char *address, size_t in_flight, double seconds)
{
    auto channel = grpc::CreateChannel(address, grpc::InsecureChannelCredentials());
    auto stub = Echo::NewStub(channel);
    grpc::CompletionQueue queue;
    std::vector<Call> calls(in_flight);
    std::vector<double> latencies_us;

    if (!channel->WaitForConnected(std::chrono::system_clock::now() + std::chrono::seconds(10)))
        return 1;
    auto start = Clock::now();
    auto end = start + std::chrono::duration_cast<Clock::duration>(
                           std::chrono::duration<double>(seconds));
    for (auto &call : calls)
        begin(&call, stub.get(), &queue);
    void *tag;
    bool ok;
    for (size_t under_way = in_flight; under_way > 0 && queue.Next(&tag, &ok);) {
        auto *call = static_cast<Call *>(tag);
        if (!ok || !call->status.ok() || call->reply.payload().size() != 64)
            return 1;
        auto now = Clock::now();
        latencies_us.push_back(std::chrono::duration<double, std::micro>(now - call->since).count());
        if (now < end)
            begin(call, stub.get(), &queue);
        else
            under_way--;
    }
    double took = std::chrono::duration<double>(Clock::now() - start).count();
    std::sort(latencies_us.begin(), latencies_us.end());
    std::printf("{\"rate\":%.0f,\"p50_us\":%.1f,\"p99_us\":%.1f}\n",
                static_cast<double>(latencies_us.size()) / took,
                latencies_us[latencies_us.size() / 2],
                latencies_us[latencies_us.size() * 99 / 100]);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 3 && std::strcmp(argv[1], "serve") == 0)
        return serve(argv[2]);
    if (argc == 5 && std::strcmp(argv[1], "load") == 0)
        return load(argv[2], static_cast<size_t>(std::atol(argv[3])), std::atof(argv[4]));
    std::fputs("usage: grpc_echo serve ADDRESS | load ADDRESS IN_FLIGHT SECONDS\n", stderr);
    return 2;
}
