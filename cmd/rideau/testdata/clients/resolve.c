/* resolve NAME...: prints for each name its addresses, sorted and each once, or the
   name of the error. It does what most programs do: getaddrinfo for any family. */
#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

static int compare(const void *a, const void *b) { return strcmp(a, b); }

int main(int argc, char **argv) {
	static char all[4096][INET6_ADDRSTRLEN];
	for (int i = 1; i < argc; i++) {
		struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM}, *found = NULL;
		int n = 0, err = getaddrinfo(argv[i], NULL, &hints, &found);
		printf("%s", argv[i]);
		if (err != 0)
			printf(" %s", err == EAI_NONAME ? "NONAME" : err == EAI_AGAIN ? "AGAIN" : err == EAI_FAIL ? "FAIL" : "NODATA");
		for (struct addrinfo *a = found; a != NULL && n < 4096; a = a->ai_next) {
			void *from = a->ai_family == AF_INET ? (void *)&((struct sockaddr_in *)a->ai_addr)->sin_addr
			                                     : (void *)&((struct sockaddr_in6 *)a->ai_addr)->sin6_addr;
			inet_ntop(a->ai_family, from, all[n++], INET6_ADDRSTRLEN);
		}
		qsort(all, n, sizeof all[0], compare);
		for (int k = 0; k < n; k++)
			if (k == 0 || strcmp(all[k], all[k - 1]) != 0)
				printf(" %s", all[k]);
		printf("\n");
	}
	return 0;
}
