// A DLL that Go programs need and old Wine lacks, for tests: ProcessPrng fills a buffer with random bytes.
#include <windows.h>

BOOLEAN NTAPI SystemFunction036(PVOID data, ULONG n); // RtlGenRandom

__declspec(dllexport) BOOL WINAPI ProcessPrng(PBYTE data, SIZE_T n) { return SystemFunction036(data, (ULONG)n); }
