import java.nio.file.Path;
import org.neo4j.dbms.api.DatabaseManagementService;
import org.neo4j.dbms.api.DatabaseManagementServiceBuilder;

/** A Neo4j server in the foreground, ended by SIGTERM: {@code java -cp 'LIB/*' Neo4jServer.java HOME CONFIGURATION}. */
class Neo4jServer {
    public static void main(String[] arguments) throws InterruptedException {
        DatabaseManagementService server = new DatabaseManagementServiceBuilder(Path.of(arguments[0]))
                .loadPropertiesFromFile(Path.of(arguments[1]))
                .build();
        Runtime.getRuntime().addShutdownHook(new Thread(server::shutdown));
        new java.util.concurrent.CountDownLatch(1).await();
    }
}
